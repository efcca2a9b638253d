// SPDX-License-Identifier: Apache-2.0
#include "transport/pending_connection.hpp"

#include <sys/socket.h>

#include <array>

#include "transport/release_blocking.hpp"

namespace migrate::transport {
namespace {

using WaitType = asio::posix::stream_descriptor::wait_type;

// The first byte of a TLS handshake (RFC 8446, section 5.1: the content type "handshake").
constexpr std::byte kTlsHandshake{22};
// Fatal alerts as a peer reads them before there are keys: unexpected_message, internal_error.
constexpr std::array<unsigned char, 7> kNoTlsHere{21, 3, 3, 0, 2, 2, 10};
constexpr std::array<unsigned char, 7> kNoCredentials{21, 3, 3, 0, 2, 2, 80};

constexpr std::string_view kNeedsTls =
    "this receiver takes encrypted connections only: give --tls-creds to the sender, too";

// A peer without room learns from the close.
void send_alert(Socket& socket, std::span<const unsigned char> alert) {
    static_cast<void>(socket.send_now(std::as_bytes(alert)));
}

}  // namespace

void PendingConnection::start(std::chrono::milliseconds timeout) {
    timeout_ = timeout;
    asio::error_code failed;
    input_.assign(SocketDescriptor::of(socket_), failed);
    if (failed) return finish(make_error("cannot watch it: {}", failed.message()));
    timer_.expires_after(timeout);
    timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
        if (!error) self->time_out();
    });
    if (tls_ != nullptr) return look_at_first_byte();
    read(hello_bytes_, &PendingConnection::on_hello);
}

void PendingConnection::time_out() {
    if (awaits_credentials_) {
        return fail_credentials(make_error(
            ErrorKind::kTimeout, "they could not be read within {} ms (handshake-timeout)",
            timeout_.count()));
    }
    finish(make_error(
        ErrorKind::kTimeout, "it sent no complete {} within {} ms (handshake-timeout)",
        tls_ != nullptr && !is_authenticated() ? "TLS handshake" : "hello", timeout_.count()));
}

void PendingConnection::give_way(std::string_view reason) { finish(make_error("{}", reason)); }

void PendingConnection::close() {
    timer_.cancel();
    forget_descriptor();
    if (needs_tls_) return refuse(std::move(socket_), kNeedsTls);
    // An alert may be on its way. A close with unread input would make the peer drop it.
    if (tls_ != nullptr) {
        socket_.finish_sending();
        socket_.drain(WaitClock::now());
    }
    socket_.shutdown();
}

Result<NewConnection> PendingConnection::release() {
    forget_descriptor();
    MIGRATE_TRY(make_blocking(SocketDescriptor::of(socket_)));
    return NewConnection{std::move(socket_), hello_, std::move(offer_), peer_};
}

void PendingConnection::read(std::span<std::byte> buffer, Step next) {
    missing_ = buffer;
    next_ = next;
    read_more();
}

void PendingConnection::read_more() {
    while (!missing_.empty()) {
        const Result<std::size_t> size = socket_.receive_now(missing_);
        if (!size) return finish(size.error());
        if (*size == 0) return await(WaitType::wait_read, &PendingConnection::read_more);
        missing_ = missing_.subspan(*size);
    }
    (this->*next_)();
}

void PendingConnection::await(WaitType what, Step next) {
    input_.async_wait(what, [self = shared_from_this(), next](const asio::error_code& error) {
        if (!error && self->finished_) ((*self).*next)();
    });
}

// A sender that does not encrypt is told so in its own language.
void PendingConnection::look_at_first_byte() {
    std::byte first{};
    const ssize_t size = ::recv(SocketDescriptor::of(socket_), &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return await(WaitType::wait_read, &PendingConnection::look_at_first_byte);
    }
    if (size <= 0) {
        return finish(Error(ErrorKind::kLostConnection, "the peer closed the connection"));
    }
    if (first == kTlsHandshake) return ask_for_credentials();
    read(hello_bytes_, &PendingConnection::refuse_plaintext);
}

void PendingConnection::refuse_plaintext() {
    const Result<ConnectionHello> hello = decode_hello(hello_bytes_);
    if (!hello) return finish(hello.error());
    needs_tls_ = true;
    finish(Error(ErrorKind::kRefused, std::string(kNeedsTls)));
}

void PendingConnection::ask_for_credentials() {
    awaits_credentials_ = true;
    credentials_->ask([self = shared_from_this()](const auto& context) {
        self->awaits_credentials_ = false;
        if (self->finished_) self->begin_handshake(context);
    });
}

void PendingConnection::begin_handshake(const Result<std::shared_ptr<const TlsContext>>& context) {
    if (!context) return fail_credentials(context.error());
    auto handshake = tls_->begin_server(SocketDescriptor::of(socket_), *context);
    if (!handshake) return fail_credentials(std::move(handshake).error());
    handshake_ = *std::move(handshake);
    go_on_with_handshake();
}

void PendingConnection::fail_credentials(Error error) {
    send_alert(socket_, kNoCredentials);
    finish(std::move(error).with_context("this receiver's tls-creds"));
}

void PendingConnection::go_on_with_handshake() {
    const Result<TlsHandshake::Step> step = handshake_->advance();
    if (!step) return finish(step.error());
    if (*step != TlsHandshake::Step::kDone) {
        return await(
            *step == TlsHandshake::Step::kNeedsInput ? WaitType::wait_read : WaitType::wait_write,
            &PendingConnection::go_on_with_handshake);
    }
    SecurityInfo info = handshake_->info();
    socket_.encrypt(handshake_->take_stream(), std::move(info));
    handshake_.reset();
    read(hello_bytes_, &PendingConnection::on_hello);
}

void PendingConnection::on_hello() {
    Result<ConnectionHello> hello = decode_hello(hello_bytes_);
    if (!hello && tls_ == nullptr && hello_bytes_[0] == kTlsHandshake) {
        send_alert(socket_, kNoTlsHere);
        return finish(Error(ErrorKind::kRefused,
                            "the sender encrypts and this receiver does not: give --tls-creds to "
                            "both, or to neither"));
    }
    if (!hello) return finish(std::move(hello).error());
    hello_ = *hello;
    const bool has_frame =
        hello_.version == kProtocolVersion &&
        (hello_.role == ConnectionRole::kMain || hello_.role == ConnectionRole::kResume);
    if (!has_frame) return finish({});
    read(frame_header_, &PendingConnection::on_frame_header);
}

void PendingConnection::on_frame_header() {
    Result<FrameHeader> header = decode_frame_header(frame_header_);
    if (!header) return finish(std::move(header).error());
    const FrameType expected =
        hello_.role == ConnectionRole::kMain ? FrameType::kOffer : FrameType::kResume;
    if (header->type != expected) {
        return finish(make_error(ErrorKind::kProtocol, "expected {} after the hello, got {}",
                                 name_of(expected), name_of(header->type)));
    }
    offer_.resize(header->body_bytes);
    read(std::as_writable_bytes(std::span(offer_)), &PendingConnection::on_offer);
}

void PendingConnection::finish(const Status& status) {
    timer_.cancel();
    if (auto finished = std::exchange(finished_, nullptr)) finished(shared_from_this(), status);
}

void PendingConnection::forget_descriptor() {
    if (input_.is_open()) input_.release();
}

}  // namespace migrate::transport
