// The device that is stood in for: its kernels, its threads, its limits.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Kernel;

// A thread of a kernel. The beginning, up to `data`, stands in prelude.h as well.
struct Thread {
    uint32_t tid[3], ntid[3], ctaid[3], nctaid[3];
    uint32_t lane, warp;
    uint64_t shared;
    void (*yield)(Thread *);
    void (*fault)(Thread *, const char *, uint64_t);
    int site, kind;
    void *data;
    // Of the scheduler alone.
    void *stack_pointer, *return_pointer;
    int state;
    const Kernel *kernel;
    uint8_t *parameters;
};

// Why a thread waits: the number that translated kernels put in `kind`.
enum Kind { BLOCK_BARRIER = 1, WARP_BARRIER = 2, SHUFFLE = 3, VOTE = 4, ACTIVE = 5, PRODUCT = 6 };

// What lanes hand over where they do something together; as in prelude.h.
struct Shuffle { uint32_t mask, mode, value, by, clamp, out, ok; };
struct Vote { uint32_t mask, mode, holds, out; };
struct Product { uint32_t *a, *b, *c, *d; };

struct Parameter {
    size_t offset, size;
};

struct Kernel {
    std::string name, source;
    std::vector<Parameter> parameters;
    size_t parameter_bytes = 0;
    size_t static_shared = 0;
    // Threads of a block that the kernel was made for, where it says so.
    uint32_t required[3] = {0, 0, 0};
    // Whether threads wait for each other anywhere.
    bool collective = false;
    size_t most_dynamic = 48 * 1024;
    void (*run)(Thread *, uint8_t *) = nullptr;
};

// PTX that is not understood, or that a compiler refuses.
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The C of a module, and its kernels, whose code is still missing.
struct Translation {
    std::string code;
    std::vector<Kernel *> kernels;
};

Translation translate(const std::string &ptx);

// The kernels of a module, compiled and loaded.
std::map<std::string, Kernel *> load(const char *ptx);

// 0, or 1 (an invalid value) for what the hardware would not launch.
int launch(Kernel &kernel, const uint32_t grid[3], const uint32_t block[3], size_t dynamic_shared, void **arguments);

// Where compiled kernels are kept.
std::string cache_folder();

inline const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

// Ten times the compute capability.
inline int capability() { return atoi(setting("STANDIN_CAPABILITY", "90")); }

// Shared memory that a block may have, as the CUDA programming guide lists it by capability.
inline size_t most_shared() {
    int c = capability();
    return 1024 * (c >= 90 && c < 120 ? 227 : c == 80 || c == 87 ? 163 : c >= 80 ? 99 : c >= 75 ? 64 : 96);
}
