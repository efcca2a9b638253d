// SPDX-License-Identifier: Apache-2.0
/* The test guest's only program, /init of its initramfs: writes its memory page by page at a set
 * rate, checks what every page held before it writes it again, and prints a line each tick on the
 * serial console:
 *
 *     tick N pages P bad B
 *
 * N goes up by one a line, P is the pages checked so far, B those that held something else than was
 * written. After each pass over all memory it prints "pass K sum S", S being the same for the same
 * K on whichever host. Environment, from the kernel's command line: MG_SIZE (MiB), MG_RATE (MiB/s),
 * MG_TICK (ms). */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define WORDS (PAGE / sizeof(uint64_t))

static uint64_t mix(uint64_t value) {
    value += 0x9E3779B97F4A7C15ULL;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
    return value ^ (value >> 27);
}

static void fill(volatile uint64_t* page, uint64_t number, uint64_t pass) {
    const uint64_t seed = mix(number * 1000003 + pass);
    for (uint64_t i = 0; i < WORDS; ++i) page[i] = seed + i * 0x100000001B3ULL;
}

static int holds(const volatile uint64_t* page, uint64_t number, uint64_t pass) {
    const uint64_t seed = mix(number * 1000003 + pass);
    for (uint64_t i = 0; i < WORDS; ++i) {
        if (page[i] != seed + i * 0x100000001B3ULL) return 0;
    }
    return 1;
}

static uint64_t number_from(const char* name, uint64_t otherwise) {
    const char* text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void say(const char* line, int length) {
    while (length > 0) {
        const ssize_t written = write(1, line, (size_t)length);
        if (written <= 0) return;
        line += written;
        length -= (int)written;
    }
}

/* Of the C library, which declares it nowhere. */
int init_module(void* content, unsigned long size, const char* arguments);

/* Loads /modules/0, /modules/1 and so on. */
static void load_modules(void) {
    char text[32];
    for (int number = 0;; ++number) {
        snprintf(text, sizeof text, "/modules/%d", number);
        struct stat status;
        const int file = open(text, O_RDONLY | O_CLOEXEC);
        if (file < 0 || fstat(file, &status) != 0) return;
        const size_t size = (size_t)status.st_size;
        void* content = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
        if (content == MAP_FAILED || init_module(content, size, "") != 0) {
            say(text, snprintf(text, sizeof text, "guest: no module %d\n", number));
        }
        if (content != MAP_FAILED) munmap(content, size);
        close(file);
    }
}

int main(void) {
    const uint64_t tick_ms = number_from("MG_TICK", 5);
    const uint64_t pages = number_from("MG_SIZE", 64) * 1024 * 1024 / PAGE;
    const uint64_t rate = number_from("MG_RATE", 8) * 1024 * 1024 / PAGE; /* pages a second */
    const struct timespec pause = {0, (long)tick_ms * 1000000};
    char line[96];

    mkdir("/dev", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    const int console = open("/dev/ttyS0", O_RDWR);
    if (console >= 0) {
        dup2(console, 0);
        dup2(console, 1);
        dup2(console, 2);
    }
    load_modules();
    uint64_t* memory =
        mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        say("guest: no memory\n", 17);
        for (;;) sleep(1);
    }
    for (uint64_t page = 0; page < pages; ++page) fill(memory + page * WORDS, page, 0);
    say("guest: ready\n", 13);

    uint64_t cursor = 0, pass = 1, checked = 0, bad = 0, sum = 0, owed = 0;
    for (uint64_t tick = 1;; ++tick) {
        owed += rate * tick_ms;
        for (; owed >= 1000; owed -= 1000) {
            uint64_t* page = memory + cursor * WORDS;
            if (!holds(page, cursor, pass - 1)) ++bad;
            sum += mix(page[cursor % WORDS]);
            fill(page, cursor, pass);
            ++checked;
            if (++cursor < pages) continue;
            say(line, snprintf(line, sizeof line, "pass %llu sum %016llx\n",
                               (unsigned long long)pass, (unsigned long long)sum));
            cursor = 0;
            sum = 0;
            ++pass;
        }
        say(line,
            snprintf(line, sizeof line, "tick %llu pages %llu bad %llu\n", (unsigned long long)tick,
                     (unsigned long long)checked, (unsigned long long)bad));
        nanosleep(&pause, NULL);
    }
}
