// Replaces two functions of libtorch_cpu.so, if it is loaded before: autograd then has a thread per CUDA device.
#include <c10/core/DeviceType.h>

#include <optional>

namespace at::accelerator {
__attribute__((visibility("default"))) std::optional<c10::DeviceType> getAccelerator(bool) {
  return c10::DeviceType::CUDA;
}
__attribute__((visibility("default"))) bool isAccelerator(c10::DeviceType device) {
  return device == c10::DeviceType::CUDA;
}
}  // namespace at::accelerator
