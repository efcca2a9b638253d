// SPDX-License-Identifier: Apache-2.0
// The sending side of post-copy: the guest is about to run at the receiver, or runs there, and this
// side sends the pages that it lacks. Invariants: no page leaves before the receiver has said that
// the guest runs there, and it may say so only once the guest was handed over; the memory is needed
// until the receiver has said that every page is in place; a lost connection ends nothing: it is
// made again, however long that takes, until stop().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"
#include "engine/peer_link.hpp"
#include "engine/postcopy/page_connection.hpp"
#include "engine/postcopy/page_queue.hpp"
#include "engine/postcopy/page_sender.hpp"
#include "engine/postcopy/postcopy_progress.hpp"
#include "engine/postcopy/postcopy_report.hpp"
#include "memory/page_bitmap.hpp"
#include "memory/source/page_source.hpp"
#include "transport/endpoint.hpp"
#include "transport/pacer.hpp"
#include "transport/security.hpp"
#include "transport/session_id.hpp"

namespace migrate::engine {

class PostcopySource {
  public:
    struct Needs {
        const memory::PageSource& source;  // outlives this object
        transport::SessionId session{};
        transport::Endpoint peer;
        transport::Security security;
        std::chrono::milliseconds io_timeout{};  // a connection on which nothing comes is lost
        std::chrono::milliseconds handshake_timeout{};  // limit for prepare()
        std::uint64_t bytes_per_second = 0;             // of pages that nobody waits for; 0: any
        std::string zero_kernel = "auto";
    };
    static Result<std::unique_ptr<PostcopySource>> create(Needs needs);
    ~PostcopySource() { stop(); }
    PostcopySource(const PostcopySource&) = delete;
    PostcopySource& operator=(const PostcopySource&) = delete;

    // The guest still runs here. Tells the receiver which pages will be missing: those of the
    // bitmaps, one for each region. Returns once it has removed them and is ready for the rest, so
    // that the guest need not be paused for that. May be called again with further pages.
    Status prepare(PeerLink& link, std::span<const memory::PageBitmap> missing,
                   const std::stop_token& stop);
    // The guest is paused, and these pages are missing, too.
    Status add(PeerLink& link, std::span<const memory::PageBitmap> missing);
    // Number of all pages that prepare() and add() have named.
    std::uint64_t missing() const {
        const MutexLock lock(mutex_);
        return overall_.missing;
    }
    // The guest belongs to the receiver: it is sent what it asks for from now on.
    void hand_over();

    PostcopyProgress& progress() { return progress_; }
    // Any thread.
    PostcopyReport report() const;
    // Ends the threads. The memory that was not sent is lost to a guest at the receiver.
    void stop();

  private:
    struct Pair {
        std::unique_ptr<PageConnection> urgent;
        std::unique_ptr<PageConnection> bulk;
    };
    explicit PostcopySource(Needs needs, std::unique_ptr<PageQueue> queue,
                            const accel::ZeroKernel& zeros);
    Status announce(PeerLink& link, std::span<const memory::PageBitmap> missing);
    Status run(const std::stop_token& stop);
    Result<Pair> connect(std::uint16_t& epoch, const std::stop_token& stop) const;
    void use(Pair& pair, const std::stop_token& stop);
    Status serve(Pair& pair, const std::stop_token& stop);
    Status take(Pair& pair, const PageConnection::Received& received, PageSender& sender);
    Status take_state(std::span<const std::byte> body);
    Status begin(const transport::PageMessage& message);
    Status send_bulk(Pair& pair, const std::stop_token& stop);
    Status send_some(Pair& pair, const PageQueue::Span& next, PageSender& sender,
                     const std::stop_token& stop);
    void lose(const Pair& pair, const Error& why);

    const Needs needs_;
    const accel::ZeroKernel& zeros_;
    std::unique_ptr<PageQueue> queue_;
    transport::Pacer pacer_;
    PostcopyPages sent_;
    PostcopyProgress progress_;

    mutable Mutex mutex_;
    StopCondition changed_;
    // The state of the present pair of connections.
    struct Phase {
        std::uint64_t ready = 0;  // POSTCOPY_STARTs that the receiver has done
        bool has_state = false;   // kState came
        bool begun = false;       // kGuestRuns came
        bool lost = false;        // a connection
        std::string reason{};     // why it is lost, or why there is none
    };
    Phase phase_ GUARDED_BY(mutex_);
    // Over all connections.
    struct Overall {
        bool handed_over = false;
        std::uint64_t starts = 0;   // POSTCOPY_STARTs that were sent
        bool complete = false;      // kPlaced came
        std::uint64_t missing = 0;  // pages that prepare() and add() have named
        std::uint64_t requests = 0;
        std::uint64_t bytes_before = 0;  // on earlier connections
        const Pair* present = nullptr;
    };
    Overall overall_ GUARDED_BY(mutex_);
    Thread thread_;  // last: it uses the rest
};

}  // namespace migrate::engine
