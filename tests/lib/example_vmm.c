// SPDX-License-Identifier: Apache-2.0
/* A small VMM that moves its guest by libmigrate, in both directions. Its guest is a thread that
 * writes numbers to its memory in an order that follows from the number of writes, so that every
 * word of the memory can be checked after each move.
 *
 * Usage: example_vmm STEP...
 *   start            make a guest and let it run
 *   option:NAME=VAL  an option of the next migration
 *   log              the guest's writes are found by this VMM, and "ram" is given by descriptor
 * only cancel:ROUND     the next send is cancelled in this round send:HOST:PORT   send the guest;
 * "-" reads the address from standard input recv:HOST:PORT   receive a guest run:MS           let
 * the guest run check            pause the guest, check all its memory, and let it run on
 *
 * Prints one line for each result. Exit code 1 for a wrong memory or a wrong command. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <migrate/migrate.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KIND "example-1"
#define RAM_BYTES (8u << 20)
#define LOW_BYTES (1u << 20)
#define WORDS ((RAM_BYTES + LOW_BYTES) / 8)
#define PAGE_WORDS (4096 / 8)
#define BATCH 256 /* writes between two naps of the guest */
#define NAP_US 500

/* What the guest needs beside its memory. */
struct state {
    char magic[8];
    uint64_t writes;
};

struct vmm {
    uint64_t* low; /* private memory */
    uint64_t* ram; /* a memfd */
    int ram_fd;

    pthread_mutex_t lock; /* guards what follows, and the memory's content */
    struct state state;
    int present; /* the guest is here */
    int running;
    int ending;
    int logging;
    uint64_t low_log[LOW_BYTES / 4096 / 64]; /* bit i: page i was written */
    uint64_t ram_log[RAM_BYTES / 4096 / 64];

    pthread_t vcpu;
};

static void nap(unsigned us) {
    struct timespec time = {us / 1000000, us % 1000000 * 1000L};
    nanosleep(&time, NULL);
}

/* The word that a write goes to: most writes go to a tenth of the memory. */
static uint64_t place_of(uint64_t write) {
    uint64_t mixed = (write + 1) * 0x9E3779B97F4A7C15u;
    mixed ^= mixed >> 31;
    return mixed % (write % 8 == 0 ? WORDS : WORDS / 10);
}

static void write_next(struct vmm* vmm) {
    uint64_t at = place_of(vmm->state.writes);
    vmm->state.writes++;
    if (at < LOW_BYTES / 8) {
        uint64_t page = at / PAGE_WORDS;
        vmm->low[at] = vmm->state.writes;
        if (vmm->logging) vmm->low_log[page / 64] |= (uint64_t)1 << page % 64;
    } else {
        uint64_t page = (at - LOW_BYTES / 8) / PAGE_WORDS;
        vmm->ram[at - LOW_BYTES / 8] = vmm->state.writes;
        if (vmm->logging) vmm->ram_log[page / 64] |= (uint64_t)1 << page % 64;
    }
}

static void* run_vcpu(void* opaque) {
    struct vmm* vmm = opaque;
    int ending = 0;
    while (!ending) {
        pthread_mutex_lock(&vmm->lock);
        for (int i = 0; i < BATCH && vmm->running; i++) write_next(vmm);
        ending = vmm->ending;
        pthread_mutex_unlock(&vmm->lock);
        nap(NAP_US);
    }
    return NULL;
}

static void set_running(struct vmm* vmm, int running) {
    pthread_mutex_lock(&vmm->lock);
    vmm->running = running;
    pthread_mutex_unlock(&vmm->lock);
}

/* The callbacks of libmigrate. */

static int on_pause(void* opaque, char* error) {
    (void)error;
    set_running(opaque, 0);
    return 0;
}

static int on_resume(void* opaque, char* error) {
    struct vmm* vmm = opaque;
    (void)error;
    vmm->present = 1;
    set_running(vmm, 1);
    return 0;
}

static int on_save_state(void* opaque, struct migrate_buffer* buffer, char* error) {
    struct vmm* vmm = opaque;
    (void)error;
    return migrate_buffer_append(buffer, &vmm->state, sizeof vmm->state);
}

static int on_load_state(void* opaque, const void* bytes, size_t size, char* error) {
    struct vmm* vmm = opaque;
    struct state state;
    if (size != sizeof state || memcmp(bytes, KIND, 8) != 0) {
        snprintf(error, MIGRATE_ERROR_BYTES, "the state is not one of this VMM");
        return 1;
    }
    memcpy(&state, bytes, size);
    vmm->state = state;
    return 0;
}

static int on_dirty_start(void* opaque, char* error) {
    struct vmm* vmm = opaque;
    (void)error;
    pthread_mutex_lock(&vmm->lock);
    memset(vmm->low_log, 0, sizeof vmm->low_log);
    memset(vmm->ram_log, 0, sizeof vmm->ram_log);
    vmm->logging = 1;
    pthread_mutex_unlock(&vmm->lock);
    return 0;
}

static int on_dirty_collect(void* opaque, size_t region, uint64_t* bitmap, size_t words,
                            char* error) {
    struct vmm* vmm = opaque;
    uint64_t* log = region == 0 ? vmm->low_log : vmm->ram_log;
    (void)error;
    pthread_mutex_lock(&vmm->lock);
    memcpy(bitmap, log, words * 8);
    memset(log, 0, words * 8);
    pthread_mutex_unlock(&vmm->lock);
    return 0;
}

static void on_dirty_stop(void* opaque) {
    struct vmm* vmm = opaque;
    pthread_mutex_lock(&vmm->lock);
    vmm->logging = 0;
    pthread_mutex_unlock(&vmm->lock);
}

static void on_message(void* opaque, enum migrate_log_level level, const char* text) {
    (void)opaque;
    fprintf(stderr, "example_vmm %d: %d: %s\n", (int)getpid(), (int)level, text);
}

static void fail(const char* what, const char* why) {
    printf("failed %s: %s\n", what, why);
    fflush(stdout);
    _exit(1);
}

static void require(struct migrate_session* session, int result, const char* what) {
    if (result != 0) fail(what, migrate_error(session));
}

/* Set-up of a migration: the same for both sides. */
static struct migrate_session* make_session(struct vmm* vmm, enum migrate_side side, int log,
                                            char** options, int count) {
    struct migrate_session* session = migrate_new(side);
    if (session == NULL) fail("migrate_new", "no memory");

    struct migrate_guest guest = {
        .struct_size = sizeof guest,
        .opaque = vmm,
        .kind = KIND,
        .pause = on_pause,
        .resume = on_resume,
        .save_state = on_save_state,
        .load_state = on_load_state,
        .dirty_start = log ? on_dirty_start : NULL,
        .dirty_collect = log ? on_dirty_collect : NULL,
        .dirty_stop = log ? on_dirty_stop : NULL,
    };
    require(session, migrate_set_guest(session, &guest), "migrate_set_guest");

    struct migrate_region low = {
        .struct_size = sizeof low,
        .name = "low",
        .address = vmm->low,
        .size = LOW_BYTES,
        .fd = -1,
    };
    require(session, migrate_add_region(session, &low), "migrate_add_region");
    struct migrate_region ram = {
        .struct_size = sizeof ram,
        .name = "ram",
        .address = log ? NULL : vmm->ram,
        .size = RAM_BYTES,
        .fd = vmm->ram_fd,
    };
    require(session, migrate_add_region(session, &ram), "migrate_add_region");

    for (int i = 0; i < count; i++) {
        require(session, migrate_set_option(session, options[i]), options[i]);
    }
    return session;
}

static void print_outcome(struct migrate_session* session, enum migrate_outcome outcome) {
    printf("outcome %d owner %d %s\n", (int)outcome, (int)migrate_get_owner(session),
           migrate_error(session));
    fflush(stdout);
}

/* Runs the migration in a thread of the library and watches it. */
static void send_guest(struct vmm* vmm, struct migrate_session* session, unsigned cancel_round) {
    unsigned round = 0;
    enum migrate_outcome outcome = MIGRATE_UNFINISHED;
    require(session, migrate_start(session), "migrate_start");
    while (outcome == MIGRATE_UNFINISHED) {
        struct migrate_progress progress = {.struct_size = sizeof progress};
        require(session, migrate_get_progress(session, &progress), "migrate_get_progress");
        for (; round < progress.round; round++) {
            printf("round %u\n", round + 1);
            fflush(stdout);
            if (round + 1 == cancel_round) migrate_cancel(session, "the example cancels");
        }
        outcome = migrate_wait(session, 2);
    }
    print_outcome(session, outcome);
    /* Only one side runs the guest. */
    if (migrate_get_owner(session) != MIGRATE_OWNER_SOURCE) vmm->present = 0;
}

/* Runs the migration in this thread. */
static void receive_guest(struct migrate_session* session) {
    require(session, migrate_open(session), "migrate_open");
    printf("listening %s\n", migrate_address(session));
    fflush(stdout);
    print_outcome(session, migrate_run(session));
}

static void check_memory(struct vmm* vmm) {
    uint64_t* expected = calloc(WORDS, 8);
    if (expected == NULL) fail("check", "no memory");
    if (!vmm->present) fail("check", "there is no guest here");
    set_running(vmm, 0);
    for (uint64_t i = 0; i < vmm->state.writes; i++) expected[place_of(i)] = i + 1;
    if (memcmp(expected, vmm->low, LOW_BYTES) != 0) fail("check", "low has other content");
    if (memcmp(expected + LOW_BYTES / 8, vmm->ram, RAM_BYTES) != 0) {
        fail("check", "ram has other content");
    }
    free(expected);
    printf("checked %" PRIu64 "\n", vmm->state.writes);
    fflush(stdout);
    set_running(vmm, 1);
}

static void make_memory(struct vmm* vmm) {
    vmm->ram_fd = memfd_create("ram", MFD_CLOEXEC);
    if (vmm->ram_fd < 0 || ftruncate(vmm->ram_fd, RAM_BYTES) != 0) fail("memfd", "no memory");
    vmm->low = mmap(NULL, LOW_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    vmm->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vmm->ram_fd, 0);
    if (vmm->low == MAP_FAILED || vmm->ram == MAP_FAILED) fail("mmap", "no memory");
}

/* Returns the part of `step` after "NAME:", or null if it is another step. */
static const char* operand(const char* step, const char* name) {
    size_t length = strlen(name);
    return strncmp(step, name, length) == 0 && step[length] == ':' ? step + length + 1 : NULL;
}

int main(int argc, char** argv) {
    static struct vmm vmm = {.lock = PTHREAD_MUTEX_INITIALIZER};
    char* options[32];
    char address[300];
    int count = 0, log = 0;
    unsigned cancel_round = 0;

    migrate_set_log(MIGRATE_LOG_INFO, on_message, NULL);
    make_memory(&vmm);
    memcpy(vmm.state.magic, KIND, 8);
    if (pthread_create(&vmm.vcpu, NULL, run_vcpu, &vmm) != 0) fail("vcpu", "no thread");
    for (int i = 1; i < argc; i++) {
        const char* text;
        if (strcmp(argv[i], "start") == 0) {
            on_resume(&vmm, NULL);
        } else if (strcmp(argv[i], "log") == 0) {
            log = 1;
        } else if (strcmp(argv[i], "check") == 0) {
            check_memory(&vmm);
        } else if ((text = operand(argv[i], "option")) && count < 31) {
            options[count++] = (char*)text;
        } else if ((text = operand(argv[i], "cancel"))) {
            cancel_round = (unsigned)atoi(text);
        } else if ((text = operand(argv[i], "run"))) {
            nap((unsigned)atoi(text) * 1000u);
        } else if ((text = operand(argv[i], "send")) || (text = operand(argv[i], "recv"))) {
            char line[256] = "";
            int sends = argv[i][0] == 's';
            if (strcmp(text, "-") == 0) {
                if (fgets(line, sizeof line, stdin) == NULL) fail("stdin", "no address");
                line[strcspn(line, "\n")] = '\0';
                text = line;
            }
            snprintf(address, sizeof address, "%s=%s", sends ? "connect" : "listen", text);
            options[count++] = address;
            struct migrate_session* session =
                make_session(&vmm, sends ? MIGRATE_SEND : MIGRATE_RECV, log, options, count);
            if (sends) {
                send_guest(&vmm, session, cancel_round);
            } else {
                receive_guest(session);
            }
            migrate_free(session);
            count = 0;
            cancel_round = 0;
        } else {
            fail("command", argv[i]);
        }
    }
    pthread_mutex_lock(&vmm.lock);
    vmm.ending = 1;
    pthread_mutex_unlock(&vmm.lock);
    pthread_join(vmm.vcpu, NULL);
    close(vmm.ram_fd);
    munmap(vmm.low, LOW_BYTES);
    munmap(vmm.ram, RAM_BYTES);
    return 0;
}
