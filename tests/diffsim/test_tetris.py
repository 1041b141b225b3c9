"""Tetris: rules and features by hand and cell by cell; environments."""

import random

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import diffsim  # noqa: F401, registers the environments
from diffsim.tetris import DELLACHERIE_WEIGHTS, THIERY_WEIGHTS, TetrisEnv, TetrisGames, TetrisVectorEnv, greedy_lines
from diffsim.tetris.pieces import PIECES, placements

from . import tetris_reference as reference

COUNTS = {"I": 17, "O": 9, "T": 34, "S": 17, "Z": 17, "L": 34, "J": 34}


def cells_of(row):
    """Bits of a row drawn as text."""
    return sum(1 << column for column, cell in enumerate(row) if cell == "#")


def game(piece, *rows, features="bertsekas"):
    """A game with a board, its upper row first, and a present piece."""
    games = TetrisGames(1, features)
    games.start(torch.tensor([0]))
    games.piece[:] = PIECES.index(piece)
    for height, row in enumerate(reversed(rows)):
        games.rows[0, height] = cells_of(row)
    return games


def action(piece, left, width):
    """The first placement of a piece in a column with a width."""
    table, number = placements(), PIECES.index(piece)
    return int(np.flatnonzero((table.left[number] == left) & (table.width[number] == width))[0])


@pytest.mark.parametrize("piece", PIECES)
def test_placements_on_an_empty_board(piece):
    games = game(piece)
    legal, _ = games.afterstates()
    assert legal.sum() == COUNTS[piece] == placements().count[PIECES.index(piece)]
    assert legal[0, : COUNTS[piece]].all()
    boards = set()
    for k in range(COUNTS[piece]):
        games = game(piece)
        games.afterstates()
        assert games.place(torch.tensor([k])) == 0
        boards.add(tuple(games.rows[0].tolist()))
        assert sum(row.bit_count() for row in games.rows[0].tolist()) == 4
    assert len(boards) == COUNTS[piece]


BOARD = (
    ".#........",
    "##.#......",
    "#.##.#####",
)
"""With the O on the two last columns the rows are .#......##, ##.#....## and #.##.#####."""


def test_features_of_bertsekas_by_hand():
    _, features = game("O", *BOARD).afterstates()
    heights, differences = [2, 3, 1, 2, 0, 1, 1, 1, 3, 3], [1, 2, 1, 2, 1, 0, 0, 2, 0]
    assert features[0, action("O", 8, 2)].tolist() == [*heights, *differences, 3, 1]


def test_features_of_dellacherie_and_thiery_by_hand():
    """Middle 1 + 1/2. Along rows 4 + 4 + 4 + 17 * 2, along columns 3 + 9 * 1. One hole, under two full cells.

    Wells: (0, 1), (0, 4), (1, 2) and (2, 0), each of depth 1.
    """
    _, features = game("O", *BOARD, features="thiery").afterstates()
    assert features[0, action("O", 8, 2)].tolist() == [1.5, 0, 46, 12, 1, 4, 2, 1]
    _, features = game("I", features="dellacherie").afterstates()
    # A bar on end in column 1: a well of depth 4 in column 0.
    assert features[0, action("I", 1, 1)].tolist() == [1.5, 0, 4 * 4 + 16 * 2, 10, 0, 4 + 3 + 2 + 1]


def test_lines_and_eroded_cells_by_hand():
    almost = ".#########"
    games = game("I", *[almost] * 4, features="dellacherie")
    _, features = games.afterstates()
    k = action("I", 0, 1)
    assert features[0, k].tolist() == [1.5, 4 * 4, 40, 10, 0, 0]
    assert games.place(torch.tensor([k])) == 4 and games.lines == 4 and not games.rows.any()
    games = game("I", "..########", almost)
    games.afterstates()
    assert games.place(torch.tensor([k])) == 1
    assert games.rows[0, :4].tolist() == [cells_of("#.########"), 1, 1, 0]


@pytest.mark.parametrize(("piece", "number"), [("I", 8), ("L", 1), ("J", 1), ("O", 0), ("T", 0), ("S", 0), ("Z", 0)])
def test_legal_placements_near_the_top(piece, number):
    """All columns but the last have 19 cells: a bar lies on them or stands in the gap; L and J hang into it."""
    games = game(piece, *["#########."] * 19)
    legal, features = games.afterstates()
    assert legal.sum() == number and bool(games.over) == (number == 0)
    assert not features[~legal].any()


@pytest.mark.parametrize(("name", "expected"), [("bertsekas", reference.bertsekas), ("thiery", reference.thiery)])
def test_features_and_boards_cell_by_cell(name, expected):
    """Every placement on boards that random play reaches."""
    draw, games, compared = random.Random(0), TetrisGames(8, name), 0
    games.start(torch.arange(8))
    for _ in range(25):
        legal, features = games.afterstates()
        for n in range(8):
            rows = games.rows[n].tolist()
            board = {(r, c) for r in range(20) for c in range(10) if rows[r] >> c & 1}
            drops = [d for d in reference.drops(board, PIECES[int(games.piece[n])]) if max(d)[0] < 20]
            ours = sorted(features[n, legal[n]].tolist())
            assert ours == sorted(expected(board, piece) for piece in drops)
            compared += len(drops)
        chosen = [draw.choice(row.nonzero()[:, 0].tolist() or [-1]) for row in legal]
        games.place(torch.tensor(chosen))
    assert compared > 3000


def test_the_first_six_features_of_thiery_are_those_of_dellacherie():
    both = [TetrisGames(4, name) for name in ("dellacherie", "thiery")]
    for games in both:
        games.start(torch.arange(4))
        games.play(torch.full((4, games.num_features), -1.0), 30)
    both[0].load_state_dict(both[1].state_dict())
    assert torch.equal(both[0].afterstates()[1], both[1].afterstates()[1][..., :6])


def test_cells_are_conserved_and_play_chooses_the_best_placement():
    torch.manual_seed(0)
    weights = torch.tensor([DELLACHERIE_WEIGHTS]) + 0.3 * torch.randn(16, 6)
    played, placed = TetrisGames(16, "dellacherie"), TetrisGames(16, "dellacherie")
    for games in (played, placed):
        games.start(torch.arange(16))
    played.play(weights, 200)
    for _ in range(200):
        legal, features = placed.afterstates()
        value = torch.where(legal, (features * weights[:, None]).sum(2), -torch.inf)
        placed.place(torch.where(placed.over == 1, -1, value.argmax(1)))
    assert all(torch.equal(getattr(played, name), getattr(placed, name)) for name in ("rows", "lines", "time"))
    cells = torch.tensor([[row.bit_count() for row in board] for board in placed.rows.tolist()]).sum(1)
    assert torch.equal(cells, 4 * placed.time - 10 * placed.lines) and placed.lines.sum() > 100


def test_pieces_are_uniform_and_a_function_of_the_seed():
    games = TetrisGames(7000)
    games.start(torch.arange(7000))
    first = games.piece.clone()
    assert ((first.bincount() - 1000).square() / 1000).sum() < 22.5  # chi-square, 6 degrees of freedom, p = 0.001
    games.afterstates()
    games.place(torch.zeros(7000))
    pairs = (7 * first + games.piece).bincount(minlength=49)
    assert ((pairs - 7000 / 49).square() / (7000 / 49)).sum() < 84  # 48 degrees of freedom
    games.start(torch.arange(7000).flip(0))
    assert torch.equal(games.piece, first.flip(0))


def test_hand_coded_weights_play_far_better_than_random_ones():
    """Weights by hand clear nearly all of the 4 * 2000 / 10 = 800 lines that the cells allow; random weights few."""
    seeds = torch.arange(10)
    for weights, features in ((DELLACHERIE_WEIGHTS, "dellacherie"), (THIERY_WEIGHTS, "thiery")):
        lines = greedy_lines(torch.tensor([weights] * 10), seeds, features=features, max_placements=2000)
        assert lines.min() > 780
    random_weights = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    assert greedy_lines(random_weights, seeds, features="dellacherie", max_placements=2000).float().mean() < 40


def test_bad_arguments():
    with pytest.raises(ValueError, match="features must be one of bertsekas, dellacherie, thiery, got 'tall'"):
        TetrisGames(1, "tall")
    with pytest.raises(ValueError, match="num_games must be >= 1, got 0"):
        TetrisGames(0)
    games = game("O")
    with pytest.raises(ValueError, match=r"action must be -1 or legal, one of \[0, .*8\] for piece O, got 9"):
        games.afterstates()
        games.place(torch.tensor([9]))
    with pytest.raises(ValueError, match=r"weights must have shape \(1, 21\), got \(1, 6\)"):
        games.play(torch.zeros(1, 6), 1)
    with pytest.raises(ValueError, match="seeds must be in"):
        games.start(torch.tensor([-1]))
    with pytest.raises(ValueError, match="max_episode_steps must be >= 1, -1 or None, got 0"):
        TetrisVectorEnv(2, max_episode_steps=0)
    with pytest.raises(ValueError, match="render_mode must be one of"):
        TetrisEnv("human")


@pytest.mark.filterwarnings("ignore:.*Box observation space maximum value is infinity:UserWarning")
def test_gymnasium_accepts_the_environment():
    for id in ("Tetris-v0", "diffsim/Tetris-v0"):
        env = gymnasium.make(id, features="dellacherie")
        assert env.spec.max_episode_steps == 10_000 and env.observation_space.shape == (34 * 7,)
    check_env(env.unwrapped, skip_render_check=True)
    with pytest.raises(gymnasium.error.ResetNeeded):
        TetrisVectorEnv(1).step(np.array([0]))


def best(obs, features=6):
    """The placement that Dellacherie's weights choose, for observations [..., 34 * 7]."""
    rows = obs.reshape(*obs.shape[:-1], 34, 1 + features)
    return np.where(rows[..., 0] == 1, rows[..., 1:] @ np.array(DELLACHERIE_WEIGHTS), -np.inf).argmax(-1)


def test_games_of_a_vector_environment_are_those_of_single_ones():
    many = gymnasium.make_vec("Tetris-v0", num_envs=3, features="dellacherie", max_episode_steps=40)
    single = [gymnasium.make("Tetris-v0", features="dellacherie", max_episode_steps=40) for _ in range(3)]
    for _ in range(2):
        obs, info = many.reset(seed=5)
        first = [env.reset(seed=5 + n) for n, env in enumerate(single)]
        assert np.array_equal(obs, np.stack([o for o, _ in first]))
        assert np.array_equal(info["action_mask"], obs.reshape(3, 34, 7)[..., 0])
        for time in range(1, 41):
            actions = best(obs) if time % 11 else np.array([33, *best(obs)[1:]])  # at the 11th step O, S, ... may end
            obs, reward, terminated, truncated, info = many.step(actions)
            for n, env in enumerate(single):
                if env is None:
                    assert reward[n] == 0 and terminated[n]
                    continue
                own = env.step(int(actions[n]))
                assert np.array_equal(obs[n], own[0]) and (reward[n], terminated[n], truncated[n]) == own[1:4]
                if terminated[n]:
                    single[n] = None
        assert truncated[1] and not terminated[1] and info["lines"][1] > 8
        single = [gymnasium.make("Tetris-v0", features="dellacherie", max_episode_steps=40) for _ in range(3)]


def test_a_placement_that_is_not_legal_ends_the_game():
    env = TetrisVectorEnv(2)
    _, info = env.reset(seed=1)
    env.games.piece[:] = PIECES.index("O")
    _, info = env._observed()
    assert info["action_mask"].sum(1).tolist() == [9, 9]
    _, reward, terminated, truncated, _ = env.step(np.array([20, 3]))
    assert terminated.tolist() == [True, False] and not truncated.any() and not reward.any()
    _, reward, terminated, _, _ = env.step(np.array([0, 0]))  # the first game waits
    assert env.games.time.tolist() == [0, 2] and terminated.tolist() == [True, False]
    env.reset(options={"reset_mask": np.array([True, False])})
    assert env.games.time.tolist() == [0, 2] and env.games.over.tolist() == [0, 0]
    with pytest.raises(ValueError, match="actions must be 2 integers"):
        env.step(np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": [True, False]})


def test_a_saved_environment_continues_exactly():
    env, other = (TetrisVectorEnv(3, "dellacherie") for _ in range(2))
    obs, _ = env.reset(seed=3)
    for _ in range(20):
        obs, *_ = env.step(best(obs))
    again = other.load_state_dict(env.state_dict())
    assert np.array_equal(obs, again)
    for _ in range(2):
        for _ in range(10):
            (obs, *rest), (again, *same) = env.step(best(obs)), other.step(best(again))
            assert np.array_equal(obs, again) and all(map(np.array_equal, rest[:3], same[:3]))
        (obs, _), (again, _) = env.reset(), other.reset()
        assert np.array_equal(obs, again)


def test_pictures_show_the_board():
    env = gymnasium.make("Tetris-v0", render_mode="ansi", features="dellacherie").unwrapped
    obs, _ = env.reset(seed=0)
    for _ in range(60):
        obs, *_ = env.step(best(obs))
    rows = env._vector.games.rows[0].tolist()
    drawn = env.render().splitlines()[:20]
    assert [cells_of("".join("." if cell == "." else "#" for cell in row)) for row in drawn[::-1]] == rows and any(rows)
    pixels = env._picture.rgb(2)
    assert pixels.shape == (480, 200, 3) and pixels.dtype == np.uint8
    assert gymnasium.make("Tetris-v0").unwrapped.render() is None
