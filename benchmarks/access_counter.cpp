// Counts the memory accesses of code that GCC instruments with -fsanitize=thread, in place of its runtime library.
// Accesses near the stack and in an ignored range (a kernel's arguments, which CUDA has in constant memory) do not count.
#include <cstdint>

extern "C" {
uint64_t accesses, bytes, sectors;
uint64_t ignored_start, ignored_end;
}

namespace {
constexpr uint64_t NEAR = 1 << 20;
constexpr unsigned SLOTS = 1 << 20;  // of the set of touched sectors of 32 bytes
uint64_t touched[SLOTS];

void count(const void* pointer, unsigned size) {
    const char here = 0;
    const uint64_t address = (uint64_t)pointer, frame = (uint64_t)&here;
    if (address - (frame - NEAR) < 2 * NEAR || address - ignored_start < ignored_end - ignored_start) return;
    ++accesses;
    bytes += size;
    for (uint64_t sector = address >> 5; sector <= (address + size - 1) >> 5; ++sector) {
        unsigned slot = (sector * 0x9E3779B97F4A7C15ull) >> 44;
        while (touched[slot] && touched[slot] != sector) slot = (slot + 1) % SLOTS;
        if (!touched[slot]) ++sectors;
        touched[slot] = sector;
    }
}
}  // namespace

#define COUNT(name, size) \
    extern "C" void __tsan_##name(void* p) { count(p, size); }
COUNT(read1, 1) COUNT(read2, 2) COUNT(read4, 4) COUNT(read8, 8) COUNT(read16, 16)
COUNT(write1, 1) COUNT(write2, 2) COUNT(write4, 4) COUNT(write8, 8) COUNT(write16, 16)
COUNT(unaligned_read2, 2) COUNT(unaligned_read4, 4) COUNT(unaligned_read8, 8) COUNT(unaligned_read16, 16)
COUNT(unaligned_write2, 2) COUNT(unaligned_write4, 4) COUNT(unaligned_write8, 8) COUNT(unaligned_write16, 16)

extern "C" {
void __tsan_read_range(void* p, unsigned long size) { for (; size >= 8; size -= 8) { count(p, 8); p = (char*)p + 8; } }
void __tsan_write_range(void* p, unsigned long size) { __tsan_read_range(p, size); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void _wp_assert(const char*, const char*, unsigned) {}
int _wp_isfinite(double x) { return __builtin_isfinite(x); }
int _wp_isnan(double x) { return __builtin_isnan(x); }
int _wp_isinf(double x) { return __builtin_isinf(x); }

void clear_sectors() {
    for (unsigned i = 0; i < SLOTS; ++i) touched[i] = 0;
    sectors = 0;
}
}
