// Kernels run: blocks on the threads of the machine, the threads of a block one after the other, as coroutines where they wait.

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>

#include "machine.hpp"

using std::vector;

enum State { READY, WAITING, DONE };

// Leaves one stack, whose place it notes, and goes on with another.
extern "C" void standin_switch(void **from, void *to);
asm(R"(
.text
.globl standin_switch
standin_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

static thread_local Thread *starting;

static void wait(Thread *thread) {
    thread->state = WAITING;
    standin_switch(&thread->stack_pointer, thread->return_pointer);
}

[[noreturn]] static void fault(Thread *t, const char *what, uint64_t where) {
    fprintf(stderr, "stand-in for CUDA: %s (0x%llx) in %s, block %u %u %u, thread %u %u %u, as translated in %s\n", what,
            (unsigned long long)where, t->kernel->name.c_str(), t->ctaid[0], t->ctaid[1], t->ctaid[2], t->tid[0], t->tid[1], t->tid[2],
            t->kernel->source.c_str());
    abort();
}

static void begin() {
    Thread *thread = starting;
    thread->kernel->run(thread, thread->parameters);
    thread->state = DONE;
    standin_switch(&thread->stack_pointer, thread->return_pointer);
    abort();
}

static void resume(Thread *thread) {
    starting = thread;
    standin_switch(&thread->return_pointer, thread->stack_pointer);
}

// What one thread of the machine needs for a block.
struct Worker {
    static constexpr size_t STACK = 64 * 1024, SHARED = 256 * 1024, THREADS = 1024;
    uint8_t *stacks, *shared;
    vector<Thread> threads;
    Worker() : threads(THREADS) {
        stacks = (uint8_t *)mmap(nullptr, STACK * THREADS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        // Some instructions have addresses of shared memory in 32 bits.
        shared = (uint8_t *)mmap(nullptr, SHARED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        if (stacks == MAP_FAILED || shared == MAP_FAILED) {
            fprintf(stderr, "stand-in for CUDA: no memory for threads\n");
            abort();
        }
    }
};

static void shuffle(const vector<Thread *> &group, Thread *const *lanes) {
    for (Thread *t : group) {
        auto s = (Shuffle *)t->data;
        int64_t lane = t->lane, bound = s->clamp & 31, segment = s->clamp >> 8 & 31, by = s->by & 31;
        int64_t first = lane & segment, last = first | (bound & ~segment);
        int64_t source = s->mode == 0 ? first | (by & ~segment & 31) : s->mode == 1 ? lane - by : s->mode == 2 ? lane + by : lane ^ by;
        s->ok = s->mode == 1 ? source >= last : source <= last;
        if (!s->ok) source = lane;
        if (source < 0 || source > 31 || !lanes[source]) fault(t, "exchange with a lane that is not there", source);
        s->out = ((Shuffle *)lanes[source]->data)->value;
    }
}

static void vote(const vector<Thread *> &group, uint32_t mask) {
    uint32_t ballot = 0;
    for (Thread *t : group) ballot |= (uint32_t)(((Vote *)t->data)->holds != 0) << t->lane;
    for (Thread *t : group) {
        auto v = (Vote *)t->data;
        v->out = v->mode == 2 ? ballot : v->mode == 1 ? ballot != 0 : ballot == mask;
    }
}

static float real(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// 16 × 8 by 8 × 16, as roughly as tensor cores may: factors are cut to ten bits; the sum so far and eight products are cut where the lowest
// bit of a float would be that is as large as the largest of them, and so is what is stored of their sum.
static void product(const vector<Thread *> &group, Thread *const *lanes) {
    if (group.size() != 32) fault(group[0], "product of matrices by a part of a warp", group.size());
    float a[128], b[128];
    for (int e = 0; e < 128; e++) {
        auto p = (Product *)lanes[e / 4]->data;
        a[e] = real(p->a[e % 4] & 0xffffe000), b[e] = real(p->b[e % 4] & 0xffffe000);
    }
    for (int e = 0; e < 256; e++) {
        auto p = (Product *)lanes[e / 8]->data;
        double parts[9] = {real(p->c[e % 8])}, most = std::fabs(parts[0]), sum = 0;
        for (int k = 0; k < 8; k++) {
            parts[k + 1] = (double)a[e / 16 * 8 + k] * b[k * 16 + e % 16];
            most = std::max(most, std::fabs(parts[k + 1]));
        }
        double unit = most > 0 && std::isfinite(most) ? std::ldexp(1.0, std::ilogb(most) - 23) : 0;
        for (double part : parts) sum += unit > 0 ? std::trunc(part / unit) * unit : part;
        float cut = (float)sum;
        if (std::fabs((double)cut) > std::fabs(sum)) cut = std::nextafter(cut, 0.0f);
        memcpy(&p->d[e % 8], &cut, sizeof cut);
    }
}

// What a group of lanes of one warp does at one place. `there` are the lanes that have not ended.
static void together(const vector<Thread *> &group, uint32_t there) {
    Thread *lanes[32] = {};
    uint32_t mask = 0;
    for (Thread *t : group) lanes[t->lane] = t, mask |= 1u << t->lane;
    // All of these begin with the lanes that take part.
    if (group[0]->kind == WARP_BARRIER || group[0]->kind == SHUFFLE || group[0]->kind == VOTE)
        for (Thread *t : group)
            if ((*(uint32_t *)t->data & there) != mask) fault(t, "other lanes than are named do something together", mask);
    switch (group[0]->kind) {
        case WARP_BARRIER: break;
        case ACTIVE:
            for (Thread *t : group) *(uint32_t *)t->data = mask;
            break;
        case SHUFFLE: shuffle(group, lanes); break;
        case VOTE: vote(group, mask); break;
        case PRODUCT: product(group, lanes); break;
        default: fault(group[0], "an operation that is not known", group[0]->kind);
    }
    for (Thread *t : group) t->state = READY;
}

static bool reversed() {
    static bool is = std::string(setting("STANDIN_ORDER", "")) == "reverse";
    return is;
}

// Until every thread of a warp has ended or waits for the block.
static void run_warp(Thread *warp, size_t count) {
    vector<Thread *> group;
    for (;;) {
        for (size_t n = 0; n < count; n++) {
            Thread *thread = &warp[reversed() ? count - 1 - n : n];
            if (thread->state == READY) resume(thread);
        }
        auto waits = [](const Thread &t) { return t.state == WAITING && t.kind != BLOCK_BARRIER; };
        // Lanes that took another way come back to the others at the place that is first in the code.
        int first = 0;
        for (size_t n = 0; n < count; n++)
            if (waits(warp[n]) && (first == 0 || warp[n].site < first)) first = warp[n].site;
        if (first == 0) return;
        group.clear();
        uint32_t there = 0;
        for (size_t n = 0; n < count; n++) {
            if (waits(warp[n]) && warp[n].site == first) group.push_back(&warp[n]);
            there |= (uint32_t)(warp[n].state != DONE) << warp[n].lane;
        }
        together(group, there);
    }
}

// Whether there is more to do: all threads were at one barrier, which is behind them now.
static bool pass_barrier(vector<Thread> &threads, size_t count) {
    size_t done = 0;
    for (size_t n = 0; n < count; n++) done += threads[n].state == DONE;
    if (done == count) return false;
    for (size_t n = 0; n < count; n++) {
        Thread &t = threads[n];
        if (t.state == DONE) fault(&t, "a thread ended before a barrier at which others wait", 0);
        if (t.kind != BLOCK_BARRIER || t.site != threads[0].site) fault(&t, "threads of a block at different barriers", t.site);
        t.state = READY;
    }
    return true;
}

struct Launch {
    const Kernel &kernel;
    const uint32_t *grid, *block;
    uint8_t *parameters;
    size_t shared_bytes;
};

static void place(Thread &t, const Launch &launch, uint32_t number) {
    const uint32_t *block = launch.block;
    t.tid[0] = number % block[0], t.tid[1] = number / block[0] % block[1], t.tid[2] = number / block[0] / block[1];
    t.lane = number % 32, t.warp = number / 32;
}

// A thread of the block, but for its place in it.
static Thread anyone(const Worker &worker, const Launch &launch, uint64_t index) {
    const uint32_t *grid = launch.grid;
    Thread t{};
    t.ctaid[0] = index % grid[0], t.ctaid[1] = index / grid[0] % grid[1], t.ctaid[2] = index / grid[0] / grid[1];
    memcpy(t.ntid, launch.block, sizeof t.ntid);
    memcpy(t.nctaid, grid, sizeof t.nctaid);
    t.shared = (uint64_t)worker.shared;
    t.yield = wait, t.fault = fault;
    t.kernel = &launch.kernel, t.parameters = launch.parameters;
    t.state = READY;
    return t;
}

static void run_block(Worker &worker, const Launch &launch, uint64_t index) {
    size_t count = (size_t)launch.block[0] * launch.block[1] * launch.block[2];
    // Nothing may rest on what shared memory holds at first: these are no numbers.
    for (size_t at = 0; at < launch.shared_bytes; at += 4) *(uint32_t *)(worker.shared + at) = 0x7fbfdead;
    Thread thread = anyone(worker, launch, index);
    if (!launch.kernel.collective) {
        for (size_t n = 0; n < count; n++) {
            place(thread, launch, reversed() ? count - 1 - n : n);
            launch.kernel.run(&thread, launch.parameters);
        }
        return;
    }
    for (uint32_t n = 0; n < count; n++) {
        // Six registers, where to go, and a word that aligns the stack as a call does.
        auto top = (void **)(worker.stacks + Worker::STACK * (n + 1)) - 8;
        memset(top, 0, 8 * sizeof(void *));
        top[6] = (void *)begin;
        thread.stack_pointer = top;
        place(thread, launch, n);
        worker.threads[n] = thread;
    }
    size_t warps = (count + 31) / 32;
    do {
        for (size_t n = 0; n < warps; n++) {
            size_t warp = reversed() ? warps - 1 - n : n;
            run_warp(&worker.threads[32 * warp], std::min<size_t>(32, count - 32 * warp));
        }
    } while (pass_barrier(worker.threads, count));
}

// Launches and seconds of each kernel, told at the end of the process.
struct Report {
    struct Row {
        uint64_t launches = 0;
        double seconds = 0;
    };
    std::map<std::string, Row> rows;
    ~Report() {
        for (auto &[name, row] : rows) fprintf(stderr, "%9llu launches %9.3f s  %s\n", (unsigned long long)row.launches, row.seconds, name.c_str());
    }
};

static void note(const Kernel &kernel, double seconds) {
    static bool wanted = *setting("STANDIN_REPORT", "") != 0;
    if (!wanted) return;
    static Report report;
    Report::Row &row = report.rows[kernel.name];
    row.launches++;
    row.seconds += seconds;
}

int launch(Kernel &kernel, const uint32_t grid[3], const uint32_t block[3], size_t dynamic_shared, void **arguments) {
    uint64_t count = (uint64_t)block[0] * block[1] * block[2], blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    bool fits = blocks > 0 && grid[0] <= 0x7fffffff && grid[1] <= 65535 && grid[2] <= 65535;
    fits = fits && count > 0 && count <= 1024 && block[0] <= 1024 && block[1] <= 1024 && block[2] <= 64;
    // Both kinds of shared memory would begin at one place here.
    fits = fits && (dynamic_shared == 0 || kernel.static_shared == 0);
    fits = fits && (kernel.required[0] == 0 || memcmp(kernel.required, block, sizeof kernel.required) == 0);
    if (!fits || dynamic_shared > kernel.most_dynamic || dynamic_shared + kernel.static_shared > most_shared()) return 1;
    vector<uint8_t> parameters(kernel.parameter_bytes + 16);
    for (size_t n = 0; n < kernel.parameters.size(); n++)
        memcpy(parameters.data() + kernel.parameters[n].offset, arguments[n], kernel.parameters[n].size);
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    // Never taken down: others may launch while the process ends.
    static auto &workers = *new vector<Worker>(std::max(1u, std::thread::hardware_concurrency()));
    Launch what{kernel, grid, block, parameters.data(), dynamic_shared + kernel.static_shared};
    auto start = std::chrono::steady_clock::now();
    std::atomic<uint64_t> next{0};
    auto work = [&](Worker &worker) {
        for (uint64_t n; (n = next++) < blocks;) run_block(worker, what, reversed() ? blocks - 1 - n : n);
    };
    vector<std::thread> others;
    // A thread costs as much as many of a kernel's.
    for (size_t n = 1; n < workers.size() && blocks * count >= 16384; n++) others.emplace_back(work, std::ref(workers[n]));
    work(workers[0]);
    for (std::thread &other : others) other.join();
    note(kernel, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    return 0;
}
