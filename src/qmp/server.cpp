// SPDX-License-Identifier: Apache-2.0
#include "qmp/server.hpp"

#include <fcntl.h>

#include <array>
#include <asio.hpp>
#include <chrono>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/catching.hpp"
#include "base/log.hpp"
#include "base/mutex.hpp"
#include "base/thread.hpp"
#include "qmp/message_stream.hpp"
#include "qmp/socket_file.hpp"

namespace migrate::qmp {
namespace {

using Protocol = asio::local::stream_protocol;

constexpr std::chrono::milliseconds kAcceptRetry{100};
constexpr std::chrono::seconds kGoodbye{1};
constexpr std::size_t kCommandReadBytes = 4096;
// While more than this many bytes of answers are unsent, requests wait.
constexpr std::size_t kPauseBytes = std::size_t{64} * 1024;

// One client. Used by the server's thread only.
class Connection : public std::enable_shared_from_this<Connection> {
  public:
    using Closed = std::function<void(const std::shared_ptr<Connection>&)>;

    Connection(Protocol::socket socket, const Dispatcher& dispatcher, Closed closed)
        : socket_(std::move(socket)), dispatcher_(dispatcher), closed_(std::move(closed)) {
        // asio 1.22 accepts without FD_CLOEXEC.
        static_cast<void>(::fcntl(socket_.native_handle(), F_SETFD, FD_CLOEXEC));
    }

    void start() {
        send(to_line(Dispatcher::greeting()));
        read();
    }

    void send_event(const std::string& line) {
        if (!session_.negotiated || finishing_) return;
        if (queued_.size() + writing_.size() + line.size() > kMaxQueuedBytes) {
            drop_unread();
        } else {
            send(line);
        }
    }

    // Drops a client that missed an event.
    void drop_unread() {
        if (!session_.negotiated) return;
        log::warning("dropped a QMP client: {} bytes of events wait for it unread",
                     queued_.size() + writing_.size());
        close();
    }

    // Closes once everything queued is written. Takes no more requests.
    void finish() {
        finishing_ = true;
        asio::error_code ignored;
        // Ends a pending read; cancel() would end the write, too.
        socket_.shutdown(Protocol::socket::shutdown_receive, ignored);
        if (writing_.empty()) close();
    }

    void close() {
        finishing_ = true;
        asio::error_code ignored;
        socket_.close(ignored);
        if (auto closed = std::exchange(closed_, nullptr)) closed(shared_from_this());
    }

  private:
    void read() {
        socket_.async_read_some(
            asio::buffer(input_),
            [self = shared_from_this()](const asio::error_code& error, std::size_t size) {
                if (error == asio::error::eof) {
                    // The client may have closed only its own half, and still want its answers.
                    self->finish();
                } else if (error) {
                    self->close();
                } else {
                    self->take(size);
                }
            });
    }

    // A client whose requests find no memory is closed; otherwise it would wait for answers.
    void take(std::size_t size) {
        const Status taken = catching("QMP client", [&]() -> Status {
            stream_.feed({input_.data(), size});
            process();
            return {};
        });
        if (taken) return;
        log::error("{}", taken.error().message());
        close();
    }

    void process() {
        while (!finishing_) {
            if (queued_.size() + writing_.size() > kPauseBytes) {
                paused_ = true;
                return;
            }
            const auto request = stream_.next();
            if (!request) return read();
            send(to_line(dispatcher_.answer(*request, session_)));
        }
    }

    void send(const std::string& line) {
        queued_ += line;
        if (writing_.empty()) write();
    }

    void write() {
        std::swap(writing_, queued_);
        asio::async_write(socket_, asio::buffer(writing_),
                          [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                              self->writing_.clear();
                              if (error) {
                                  self->close();
                              } else {
                                  self->on_written();
                              }
                          });
    }

    void on_written() {
        if (!queued_.empty()) {
            write();
        } else if (finishing_) {
            close();
        } else if (std::exchange(paused_, false)) {
            process();
        }
    }

    Protocol::socket socket_;
    const Dispatcher& dispatcher_;
    Closed closed_;
    std::array<char, kCommandReadBytes> input_{};
    MessageStream stream_{{kMaxRequestBytes, kMaxRequestDepth}};
    Session session_;
    std::string writing_;  // not changed during a write
    std::string queued_;   // for the next write
    bool paused_ = false;  // no request is taken until the output is written
    bool finishing_ = false;
};

// Events in transit from any thread to the server's thread.
class Mailbox {
  public:
    struct Content {
        std::vector<std::string> lines;
        bool overflowed = false;  // a line did not fit
    };

    // Returns true if the server's thread has to be notified.
    bool put(std::string line) {
        const MutexLock lock(mutex_);
        if (bytes_ + line.size() > kMaxQueuedBytes) {
            content_.overflowed = true;
        } else {
            bytes_ += line.size();
            content_.lines.push_back(std::move(line));
        }
        return !std::exchange(told_, true);
    }

    Content take() {
        const MutexLock lock(mutex_);
        bytes_ = 0;
        told_ = false;
        return std::exchange(content_, {});
    }

  private:
    Mutex mutex_;
    Content content_ GUARDED_BY(mutex_);
    std::size_t bytes_ GUARDED_BY(mutex_) = 0;
    bool told_ GUARDED_BY(mutex_) = false;
};

}  // namespace

// Everything except the mailbox and the context's own queue belongs to the server's thread.
struct Server::State {
    State(Dispatcher commands, SocketFile socket_file)
        : file(std::move(socket_file)),
          dispatcher(std::move(commands)),
          acceptor(context),
          retry(context),
          goodbye(context) {
        acceptor.assign(Protocol(), file->take_listener().release());
    }
    ~State() {
        if (!thread.joinable()) return;
        asio::post(context, [this] { stop(); });
        thread.join();
    }

    Status start() {
        accept();
        const auto serve_all = [this](const std::stop_token&) -> Status {
            run();
            return {};
        };
        MIGRATE_ASSIGN(thread, Thread::start("qmp_server", serve_all, [](const Error& error) {
                           log::error("QMP server: {}", error.message());
                       }));
        return {};
    }

    void run() {
        while (true) {
            try {
                context.run();
                return;
            } catch (...) {
                log::error("{}", error_of_exception("QMP server").message());
            }
        }
    }

    void accept() {
        acceptor.async_accept([this](const asio::error_code& error, Protocol::socket socket) {
            if (!acceptor.is_open()) return;
            if (error) {
                log::warning("cannot accept a QMP client for now: {}", error.message());
                retry.expires_after(kAcceptRetry);
                retry.async_wait([this](const asio::error_code& stopped) {
                    if (!stopped && acceptor.is_open()) accept();
                });
                return;
            }
            const Status served = catching("QMP client", [&]() -> Status {
                if (clients.size() >= kMaxClients) {
                    turn_away(std::move(socket));
                } else {
                    serve(std::move(socket));
                }
                return {};
            });
            if (!served) log::error("{}", served.error().message());
            accept();
        });
    }

    void serve(Protocol::socket socket) {
        auto client = std::make_shared<Connection>(
            std::move(socket), dispatcher, [this](const std::shared_ptr<Connection>& closed) {
                clients.erase(closed);
                if (clients.empty()) goodbye.cancel();
            });
        clients.insert(client);
        client->start();
    }

    static void turn_away(Protocol::socket socket) {
        const std::string why = fmt::format("{} clients are connected already", kMaxClients);
        log::warning("turned a QMP client away: {}", why);
        asio::error_code ignored;
        socket.non_blocking(true, ignored);
        socket.write_some(asio::buffer(to_line(make_error_answer(kGenericError, why))), ignored);
    }

    void deliver() {
        const Mailbox::Content content = mailbox.take();
        // Iterates over a copy, since a client that is dropped leaves the set.
        for (const auto& client : std::vector(clients.begin(), clients.end())) {
            for (const std::string& line : content.lines) client->send_event(line);
            if (content.overflowed) client->drop_unread();
        }
    }

    void stop() {
        // The file goes first: a client that connects from now on learns that nobody serves.
        file.reset();
        asio::error_code ignored;
        acceptor.close(ignored);
        retry.cancel();
        deliver();
        goodbye.expires_after(kGoodbye);
        goodbye.async_wait([this](const asio::error_code& error) {
            if (error) return;
            for (const auto& client : std::vector(clients.begin(), clients.end())) client->close();
        });
        for (const auto& client : std::vector(clients.begin(), clients.end())) client->finish();
        if (clients.empty()) goodbye.cancel();
        work.reset();
    }

    std::optional<SocketFile> file;
    const Dispatcher dispatcher;
    asio::io_context context;
    asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
    Protocol::acceptor acceptor;
    asio::steady_timer retry;  // delays accepting after an error
    asio::steady_timer goodbye;
    std::set<std::shared_ptr<Connection>> clients;
    Mailbox mailbox;
    Thread thread;
};

Result<std::unique_ptr<Server>> Server::create(std::string_view address,
                                               std::map<std::string, Command> commands) {
    MIGRATE_ASSIGN(Dispatcher dispatcher, Dispatcher::create(std::move(commands)));
    MIGRATE_ASSIGN(SocketFile file, SocketFile::create(address));
    const std::string where = fmt::format("cannot serve QMP on {}", address);
    try {
        auto state = std::make_unique<State>(std::move(dispatcher), std::move(file));
        Status started = state->start();
        if (!started) {
            return std::move(started).error().with_context(where);
        }
        return std::unique_ptr<Server>(new Server(std::move(state)));
    } catch (...) {
        return error_of_exception(where);
    }
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() = default;

void Server::broadcast(std::string_view event, const Json& data) {
    if (state_->mailbox.put(to_line(make_event(event, data))))
        asio::post(state_->context, [state = state_.get()] { state->deliver(); });
}

}  // namespace migrate::qmp
