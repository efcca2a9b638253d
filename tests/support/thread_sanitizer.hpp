// SPDX-License-Identifier: Apache-2.0
// Tells whether the tests run under ThreadSanitizer: MIGRATE_UNDER_TSAN is defined then. GCC and
// clang say it in different ways.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define MIGRATE_UNDER_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MIGRATE_UNDER_TSAN
#endif
#endif
