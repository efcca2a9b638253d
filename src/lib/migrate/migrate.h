// SPDX-License-Identifier: Apache-2.0
/* libmigrate: moves the guest of any VMM to another host, over parallel TCP channels.
 *
 * The VMM gives its memory and a few callbacks; the library finds the pages, sends them in rounds,
 * pauses the guest, moves its state and decides which side runs it. The peer is another program
 * with libmigrate. docs/libmigrate.md has an example, and docs/options.md all options.
 *
 * Conventions. Sizes and offsets are bytes, and a page has 4096 bytes. Texts are UTF-8 and end with
 * a zero byte. A function that returns int returns 0 (MIGRATE_COMPLETED) or another value of enum
 * migrate_outcome; migrate_error() has the reason then. Every struct begins with struct_size, which
 * the caller sets to its sizeof, so that later versions can add members at the end; members that a
 * caller's struct does not have count as 0. A null pointer where none is allowed, or a struct_size
 * that is too small, is MIGRATE_USAGE. No C++ exception leaves the library.
 *
 * Threads. A session is set up by one thread. While it runs, any thread may call the functions
 * whose comment says so. Different sessions are independent. Callbacks come from threads of the
 * library, or from the thread that calls migrate_run() or migrate_free(); the callbacks of one
 * session never run at the same time, except the one of migrate_set_event_handler(). They must
 * return: nothing ends a callback that waits. They call no function of the library but
 * migrate_buffer_append().
 *
 * Effects on the process. The library handles SIGBUS, and passes those signals on that it did not
 * cause. It installs a new-handler (C++), which calls the earlier one. It neither forks nor writes
 * to standard output or standard error. Its threads take no part in the VMM's signal handling: all
 * signals are blocked in them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MIGRATE_API __attribute__((visibility("default")))

#ifdef __cplusplus
#define MIGRATE_NOEXCEPT noexcept
extern "C" {
#else
#define MIGRATE_NOEXCEPT
#endif

/* How a migration ended, and the result of calls. The values are the exit codes of the program. */
enum migrate_outcome {
    MIGRATE_UNFINISHED = -1,   /* it has not ended */
    MIGRATE_COMPLETED = 0,     /* everything arrived; a guest is at the destination */
    MIGRATE_FAILED = 1,        /* network, peer, callback or host; see migrate_get_owner() */
    MIGRATE_USAGE = 2,         /* an argument or an option is wrong; nothing was moved */
    MIGRATE_REFUSED = 3,       /* one side refused before any page moved */
    MIGRATE_CANCELLED = 4,     /* a user cancelled, on either side */
    MIGRATE_NOT_CONVERGED = 5, /* the guest writes faster than it can be sent (stall-limit) */
    MIGRATE_OWNER_UNKNOWN = 6  /* the handover was not confirmed; see migrate_get_owner() */
};

/* The side that has the guest. Exactly one side may run it. */
enum migrate_owner {
    MIGRATE_OWNER_NONE = 0,   /* there is no guest: no sender has come, or memory alone moves */
    MIGRATE_OWNER_SOURCE = 1, /* the sender has it */
    MIGRATE_OWNER_DESTINATION = 2, /* the receiver has it */
    MIGRATE_OWNER_UNKNOWN_SIDE = 3 /* this side cannot tell. The sender's guest stays paused. Find
                                      out from the other side before either runs it */
};

/* The states of a migration, with QEMU's names. */
enum migrate_status {
    MIGRATE_STATUS_NONE = 0,
    MIGRATE_STATUS_SETUP = 1,
    MIGRATE_STATUS_ACTIVE = 2,         /* rounds are sent; the guest runs */
    MIGRATE_STATUS_PRE_SWITCHOVER = 3, /* the guest is paused; migrate_continue() is awaited */
    MIGRATE_STATUS_DEVICE = 4,         /* the guest is paused; last round and state are sent */
    MIGRATE_STATUS_CANCELLING = 5,
    MIGRATE_STATUS_CANCELLED = 6,
    MIGRATE_STATUS_FAILED = 7,
    MIGRATE_STATUS_COMPLETED = 8
};

enum migrate_side { MIGRATE_SEND = 0, MIGRATE_RECV = 1 };

enum migrate_log_level {
    MIGRATE_LOG_DEBUG = 0,
    MIGRATE_LOG_INFO = 1,
    MIGRATE_LOG_WARNING = 2,
    MIGRATE_LOG_ERROR = 3
};

/* One side of one migration. */
struct migrate_session;

/* The state that a save_state callback writes. */
struct migrate_buffer;

/* A part of the guest's memory. Both sides need the same regions, by name and size, in any order.
 * Memory without a descriptor is private anonymous memory of this process (MAP_PRIVATE). Shared
 * memory (memfd, tmpfs, hugetlbfs, a file) needs its descriptor.
 *
 * The memory stays as it is, mapped at the same place, until migrate_free(). At the receiver its
 * content is lost from the moment a sender is accepted, and from then on nothing may access it
 * until load_state is called: such an access may get SIGBUS. */
struct migrate_region {
    size_t struct_size;
    const char* name;   /* 1 … 255 bytes, unique */
    void* address;      /* where it is mapped, writable, a multiple of 4096. Null with a descriptor:
                           the library maps it; a sender then needs the dirty_… callbacks */
    uint64_t size;      /* a multiple of 4096 and of page_size, > 0 */
    int fd;             /* open for reading and writing; -1: private memory. The library duplicates
                           it and moves its file offset; the caller may close it after
                           migrate_open() */
    uint64_t offset;    /* where the region begins in fd, a multiple of 4096 and of page_size; 0 for
                           private memory */
    uint64_t page_size; /* of the pages that back it: 0 for 4096, or the size of huge pages */
};

/* Room of a callback's `error`, in bytes. */
#define MIGRATE_ERROR_BYTES 512

/* The guest, as callbacks of its VMM. Each gets `opaque` and returns 0, or another value if it
 * failed. It may then write a sentence to `error`, which has room for MIGRATE_ERROR_BYTES bytes and
 * is empty before the call. A callback that fails leaves the guest as it was. */
struct migrate_guest {
    size_t struct_size;
    void* opaque;
    /* The kind of VMM and of machine: letters, digits and "._:-", 1 … 48 bytes. A receiver refuses
     * a sender whose kind differs, so it names all that the state depends on: "example-1:q35". */
    const char* kind;

    /* Returns when no vCPU runs and no device writes to the guest's memory. Sender. */
    int (*pause)(void* opaque, char* error);
    /* Lets the guest run: at the sender after pause(), if the guest stays there, at the receiver
     * after load_state(). If it fails at the receiver, the guest must never run there: the sender
     * takes it back. A receiver that does not know whether the guest runs returns
     * MIGRATE_OWNER_UNKNOWN. */
    int (*resume)(void* opaque, char* error);
    /* Appends everything but memory that the guest needs elsewhere, at most 256 MiB. Called while
     * paused; may be called again if the switchover broke off. Sender. */
    int (*save_state)(void* opaque, struct migrate_buffer* state, char* error);
    /* Loads what save_state wrote; all memory has arrived. The guest stays paused. `state` comes
     * from the peer: check it. It is valid during the call only. Called at most once. Receiver. */
    int (*load_state)(void* opaque, const void* state, size_t size, char* error);

    /* Takes `percent` (0 … 99) of each vCPU's time. Null: the option auto-converge is refused.
     * Sender. */
    int (*throttle)(void* opaque, unsigned percent, char* error);

    /* The VMM's own record of the pages that were written, by vCPUs and by devices; all three or
     * none. Without them the library finds the writes to the memory at `address` by itself: writes
     * by this process, its kernel threads and KVM, but neither those of other processes that map
     * the same memory nor a device's DMA. Sender. */
    /* From its return on every write is recorded. */
    int (*dirty_start)(void* opaque, char* error);
    /* Sets the bits of the pages of a region that were written since dirty_start() or the last call
     * for it, and resets its record in the same step: bit i % 64 of word i / 64 is page i, as in
     * KVM_GET_DIRTY_LOG. `region`: index in the order of migrate_add_region(). The words are 0
     * before the call. A write during the call is in this call or in the next. */
    int (*dirty_collect)(void* opaque, size_t region, uint64_t* bitmap, size_t words, char* error);
    /* No record is needed any more. Called by migrate_free() at the latest. */
    void (*dirty_stop)(void* opaque);
};

/* Figures while it runs and at the end; 0 if they are not known. migrate_statistics() has all. */
struct migrate_progress {
    size_t struct_size;
    enum migrate_status status;
    enum migrate_owner owner;
    uint32_t round;             /* that began last, from 1 */
    uint32_t cpu_throttle;      /* percent */
    uint64_t total_bytes;       /* of all regions */
    uint64_t remaining_bytes;   /* that are still to be sent, as far as it is known */
    uint64_t transferred_bytes; /* sent or received so far, on all connections */
    uint64_t bytes_per_second;  /* at present */
    uint64_t time_left_us;      /* at the present speed */
    uint64_t expected_downtime_us;
    uint64_t downtime_us; /* once it is over */
    uint64_t total_time_us;
};

/* The version of the library, "1.2.3". Any thread. */
MIGRATE_API const char* migrate_version(void) MIGRATE_NOEXCEPT;

/* From now on `log` gets the messages of this level and above, of all migrations of the process;
 * null: nobody does, as at the start. It is called by any thread, several at a time, and must
 * neither wait nor call the library. A call that has begun may go on after this one returns. Any
 * thread. */
MIGRATE_API void migrate_set_log(enum migrate_log_level level,
                                 void (*log)(void* opaque, enum migrate_log_level level,
                                             const char* text),
                                 void* opaque) MIGRATE_NOEXCEPT;

/* Makes one side of a migration. Null if there is no memory or no such side. */
MIGRATE_API struct migrate_session* migrate_new(enum migrate_side side) MIGRATE_NOEXCEPT;

/* Cancels the migration if it runs in a thread of the library, waits for its end, and releases
 * everything. The guest goes on where migrate_get_owner() says. Not from a callback, and not while
 * another thread uses the session. Null is allowed. */
MIGRATE_API void migrate_free(struct migrate_session* session) MIGRATE_NOEXCEPT;

/* Sets an option, "NAME=VALUE", with the names and values of docs/options.md. A sender needs
 * connect, a receiver listen. Options about files and messages of the program, the source, the sink
 * and repeat are MIGRATE_USAGE. Before migrate_open(). */
MIGRATE_API int migrate_set_option(struct migrate_session* session,
                                   const char* option) MIGRATE_NOEXCEPT;

/* Adds a region, at most 65535 of them. The struct and the name are copied; the memory is checked
 * by migrate_open(). Before migrate_open(). */
MIGRATE_API int migrate_add_region(struct migrate_session* session,
                                   const struct migrate_region* region) MIGRATE_NOEXCEPT;

/* Sets the guest. A sender needs kind, pause, resume and save_state, a receiver kind, load_state
 * and resume. The struct and the kind are copied. Without a guest the memory moves alone: nobody
 * writes to it meanwhile. Before migrate_open(). */
MIGRATE_API int migrate_set_guest(struct migrate_session* session,
                                  const struct migrate_guest* guest) MIGRATE_NOEXCEPT;

/* `handle` gets every event of docs/reports.md, with its data as a JSON object. It is called by any
 * thread, one at a time, and must neither wait nor call the library. Before migrate_open(). */
MIGRATE_API int migrate_set_event_handler(struct migrate_session* session,
                                          void (*handle)(void* opaque, const char* event,
                                                         const char* json_data),
                                          void* opaque) MIGRATE_NOEXCEPT;

/* Checks options, memory and guest, and reads the TLS credentials; a receiver listens from now on.
 * May wait for a file system or for the resolution of a name. If it fails, it may be called again.
 * migrate_run() and migrate_start() call it if it was not called. */
MIGRATE_API int migrate_open(struct migrate_session* session) MIGRATE_NOEXCEPT;

/* The address on which a receiver listens, "HOST:PORT"; empty before migrate_open() and at a
 * sender. Valid until the same thread calls the library again. Any thread. */
MIGRATE_API const char* migrate_address(struct migrate_session* session) MIGRATE_NOEXCEPT;

/* Runs the migration on the calling thread until it ends, and returns the outcome. Once. */
MIGRATE_API enum migrate_outcome migrate_run(struct migrate_session* session) MIGRATE_NOEXCEPT;

/* Runs it on a thread of the library and returns at once; migrate_wait() has the outcome. Once. */
MIGRATE_API int migrate_start(struct migrate_session* session) MIGRATE_NOEXCEPT;

/* Waits up to timeout_ms milliseconds for the end (-1: without a limit, 0: not at all) and returns
 * the outcome, MIGRATE_UNFINISHED if there is none yet. Without a migration that runs or has ended
 * it returns MIGRATE_UNFINISHED at once. Any thread. */
MIGRATE_API enum migrate_outcome migrate_wait(struct migrate_session* session,
                                              int64_t timeout_ms) MIGRATE_NOEXCEPT;

/* Ends the migration with MIGRATE_CANCELLED, also one that has not begun; the peer gets the reason
 * (null: "cancelled"). Returns at once. Without effect once the guest was handed over. Any thread.
 */
MIGRATE_API void migrate_cancel(struct migrate_session* session,
                                const char* reason) MIGRATE_NOEXCEPT;

/* Changes an option of a sender while it runs, "NAME=VALUE"; docs/options.md says which ones. Any
 * thread. */
MIGRATE_API int migrate_change(struct migrate_session* session,
                               const char* option) MIGRATE_NOEXCEPT;

/* Ends the wait of pause-before-switchover. MIGRATE_FAILED if the migration is not in that wait.
 * Any thread. */
MIGRATE_API int migrate_continue(struct migrate_session* session) MIGRATE_NOEXCEPT;

/* Fills in the progress. Any thread. */
MIGRATE_API int migrate_get_progress(struct migrate_session* session,
                                     struct migrate_progress* progress) MIGRATE_NOEXCEPT;

/* Sets *json to the statistics of docs/reports.md, which the caller releases with free(). After
 * migrate_open(), while it runs and at the end. Any thread. */
MIGRATE_API int migrate_statistics(struct migrate_session* session, char** json) MIGRATE_NOEXCEPT;

/* The side that has the guest; certain once the migration has ended. Any thread. */
MIGRATE_API enum migrate_owner migrate_get_owner(struct migrate_session* session) MIGRATE_NOEXCEPT;

/* Why the calling thread's last call failed for this session, or else why the migration ended as it
 * did: a sentence, empty without an error. Valid until the same thread calls the library again. Any
 * thread. */
MIGRATE_API const char* migrate_error(struct migrate_session* session) MIGRATE_NOEXCEPT;

/* In a save_state callback: appends bytes. Returns 0, or MIGRATE_FAILED if the state is too large
 * or there is no memory; the callback then fails whatever it returns. */
MIGRATE_API int migrate_buffer_append(struct migrate_buffer* buffer, const void* data,
                                      size_t size) MIGRATE_NOEXCEPT;

#ifdef __cplusplus
}
#endif
