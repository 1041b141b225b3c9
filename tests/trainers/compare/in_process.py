"""Runs of a comparison in the process of the test, one after the other, which is faster than new processes."""

from diffsim.trainers.cli import main


class Done:
    """A run that has ended."""

    def __init__(self, status):
        self.status = status

    def poll(self):
        return self.status

    def interrupt(self):
        pass

    def kill(self):
        pass


class InProcess:
    """A launcher whose `start` returns when the run has ended. Records the arguments of each run."""

    def __init__(self, capsys=None):
        self.started, self.capsys = {}, capsys

    def start(self, run, arguments):
        self.started[run.folder.path.name] = list(arguments)
        status = main(["fit", *arguments])
        if self.capsys is not None:
            captured = self.capsys.readouterr()
            run.log.write_text(captured.out + captured.err)
        return Done(status)

    def close(self):
        pass
