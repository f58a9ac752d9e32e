// A stand-in for NVIDIA's driver library, libcuda.so, on machines without a GPU: the calls that the tensor library's CUDA runtime makes.
// README.md says what it is for and what it is not.

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "machine.hpp"

// Results: CUDA_SUCCESS, CUDA_ERROR_INVALID_VALUE, _OUT_OF_MEMORY, _INVALID_DEVICE, _INVALID_PTX, _NOT_FOUND.
enum Result { OK = 0, INVALID = 1, NO_MEMORY = 2, NO_DEVICE = 101, BAD_PTX = 218, NOT_FOUND = 500 };
typedef uint64_t Address;

static std::mutex memory_lock;
// Never taken down: others may free while the process ends.
static std::map<Address, size_t> &allocations = *new std::map<Address, size_t>;
static size_t allocated = 0;

static size_t total_memory() { return strtoull(setting("STANDIN_MEMORY", "17179869184"), nullptr, 10); }

static Result allocate(Address *out, size_t bytes) {
    if (bytes == 0) return INVALID;
    std::lock_guard<std::mutex> lock(memory_lock);
    if (allocated + bytes > total_memory()) return NO_MEMORY;
    void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NO_MEMORY;
    // No numbers as floats, and far out of range as indices: a GPU's memory is not zero at first. Beyond that size it would cost too much.
    if (bytes <= 512 << 20) memset(memory, 0xff, bytes);
    allocations[(Address)memory] = bytes;
    allocated += bytes;
    *out = (Address)memory;
    return OK;
}

static Result release(Address memory) {
    std::lock_guard<std::mutex> lock(memory_lock);
    auto found = allocations.find(memory);
    if (found == allocations.end()) return INVALID;
    munmap((void *)memory, found->second);
    allocated -= found->second;
    allocations.erase(found);
    return OK;
}

static double milliseconds() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// CUDA_MEMCPY2D.
struct Copy {
    size_t from_x, from_y;
    int from_kind;
    const uint8_t *from_host, *from_device;
    void *from_array;
    size_t from_pitch, to_x, to_y;
    int to_kind;
    uint8_t *to_host, *to_device;
    void *to_array;
    size_t to_pitch, width, height;
};
static const int HOST = 1;

extern "C" {
Result cuInit(unsigned) { return OK; }
Result cuDriverGetVersion(int *version) { return *version = atoi(setting("STANDIN_CUDA", "12080")), OK; }
Result cuGetErrorName(Result result, const char **name) {
    static thread_local char text[32];
    snprintf(text, sizeof text, "CUDA_ERROR %d", result);
    return *name = text, OK;
}
Result cuGetErrorString(Result result, const char **text) { return cuGetErrorName(result, text); }

Result cuDeviceGetCount(int *count) { return *count = atoi(setting("STANDIN_DEVICES", "1")), OK; }
Result cuDeviceGet(int *device, int number) {
    int count;
    cuDeviceGetCount(&count);
    return *device = number, number >= 0 && number < count ? OK : NO_DEVICE;
}
Result cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, size, "stand-in %d of compute capability %d.%d on the CPU", device, capability() / 10, capability() % 10);
    return OK;
}
Result cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = total_memory(), OK; }
Result cuDeviceGetPCIBusId(char *id, int size, int device) { return snprintf(id, size, "0000:%02x:00.0", 1 + device), OK; }
Result cuDeviceGetAttribute(int *value, int attribute, int) {
    // Threads of a block and its sides, sides of a grid, shared memory without asking, threads of a warp, multiprocessors.
    static const auto &known = *new std::map<int, int>{{1, 1024}, {2, 1024},  {3, 1024},  {4, 64},  {5, 2147483647},
                                             {6, 65535}, {7, 65535}, {8, 49152}, {10, 32}, {16, 132}};
    auto found = known.find(attribute);
    *value = found != known.end() ? found->second
             : attribute == 75    ? capability() / 10
             : attribute == 76    ? capability() % 10
             : attribute == 97    ? (int)most_shared()
                                  : 0;
    return OK;
}

Result cuDevicePrimaryCtxRetain(void **context, int) { return *context = (void *)1, OK; }
Result cuDevicePrimaryCtxRelease_v2(int) { return OK; }
Result cuCtxSetCurrent(void *) { return OK; }
Result cuCtxGetCurrent(void **context) { return *context = (void *)1, OK; }
Result cuCtxSynchronize() { return OK; }
Result cuCtxGetStreamPriorityRange(int *least, int *most) { return *least = 0, *most = -5, OK; }

// All is done when a call returns, so streams and events are names.
Result cuStreamCreate(void **stream, unsigned) {
    static std::atomic<uint64_t> number{0};
    return *stream = (void *)++number, OK;
}
Result cuStreamCreateWithPriority(void **stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
Result cuStreamSynchronize(void *) { return OK; }
Result cuStreamQuery(void *) { return OK; }
Result cuStreamWaitEvent(void *, void *, unsigned) { return OK; }
Result cuStreamDestroy_v2(void *) { return OK; }
Result cuEventCreate(void **event, unsigned) { return *event = new double(0), OK; }
Result cuEventRecord(void *event, void *) { return *(double *)event = milliseconds(), OK; }
Result cuEventSynchronize(void *) { return OK; }
Result cuEventQuery(void *) { return OK; }
Result cuEventElapsedTime(float *out, void *from, void *to) { return *out = *(double *)to - *(double *)from, OK; }
Result cuEventElapsedTime_v2(float *out, void *from, void *to) { return cuEventElapsedTime(out, from, to); }
Result cuEventDestroy_v2(void *event) { return delete (double *)event, OK; }

Result cuMemAlloc_v2(Address *out, size_t bytes) { return allocate(out, bytes); }
Result cuMemAllocAsync(Address *out, size_t bytes, void *) { return allocate(out, bytes); }
Result cuMemFree_v2(Address memory) { return release(memory); }
Result cuMemFreeAsync(Address memory, void *) { return release(memory); }
Result cuMemAllocHost_v2(void **out, size_t bytes) { return bytes && (*out = malloc(bytes)) ? OK : INVALID; }
Result cuMemFreeHost(void *memory) { return free(memory), OK; }
Result cuMemGetInfo_v2(size_t *left, size_t *total) {
    std::lock_guard<std::mutex> lock(memory_lock);
    return *total = total_memory(), *left = *total - allocated, OK;
}
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *) { return memcpy((void *)to, from, bytes), OK; }
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *) { return memcpy(to, (void *)from, bytes), OK; }
Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *) { return memmove((void *)to, (void *)from, bytes), OK; }
Result cuMemcpy2DAsync_v2(const Copy *copy, void *) {
    if (copy->width > copy->from_pitch || copy->width > copy->to_pitch) return INVALID;
    const uint8_t *from = (copy->from_kind == HOST ? copy->from_host : copy->from_device) + copy->from_x + copy->from_y * copy->from_pitch;
    uint8_t *to = (copy->to_kind == HOST ? copy->to_host : copy->to_device) + copy->to_x + copy->to_y * copy->to_pitch;
    for (size_t row = 0; row < copy->height; row++) memcpy(to + row * copy->to_pitch, from + row * copy->from_pitch, copy->width);
    return OK;
}

Result cuModuleLoadData(void **module, const void *ptx) {
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    try {
        *module = new std::map<std::string, Kernel *>(load((const char *)ptx));
        return OK;
    } catch (const Refused &refused) {
        fprintf(stderr, "stand-in for CUDA: %s\n", refused.what());
        return BAD_PTX;
    }
}
Result cuModuleUnload(void *) { return OK; }
Result cuModuleGetFunction(void **function, void *module, const char *name) {
    auto kernels = (std::map<std::string, Kernel *> *)module;
    auto found = kernels->find(name);
    if (found == kernels->end()) return NOT_FOUND;
    return *function = found->second, OK;
}
Result cuFuncSetAttribute(void *function, int attribute, int value) {
    const int MOST_DYNAMIC_SHARED = 8;
    if (attribute != MOST_DYNAMIC_SHARED) return OK;
    if (value < 0 || (size_t)value > most_shared()) return INVALID;
    return ((Kernel *)function)->most_dynamic = value, OK;
}
Result cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                      unsigned shared, void *, void **arguments, void **) {
    uint32_t grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
    auto kernel = (Kernel *)function;
    Result result = (Result)launch(*kernel, grid, block, shared, arguments);
    if (result != OK)
        fprintf(stderr, "stand-in for CUDA: %s cannot be launched: grid %u %u %u, block %u %u %u, %u bytes of shared memory\n",
                kernel->name.c_str(), grid_x, grid_y, grid_z, block_x, block_y, block_z, shared);
    return result;
}
}
