// SPDX-License-Identifier: Apache-2.0
#include "engine/send/round_sender.hpp"

#include <utility>

#include "base/log.hpp"
#include "transport/handshake.hpp"

namespace migrate::engine {

using Clock = std::chrono::steady_clock;
using transport::Frame;
using transport::FrameSet;
using transport::FrameType;

namespace {

// Interval at which a wait for the receiver checks whether data in transit still reaches it.
constexpr std::chrono::milliseconds kHeadwayInterval{1000};

Microseconds since(Clock::time_point begin) {
    return std::chrono::duration_cast<Microseconds>(Clock::now() - begin);
}

void add_last_pass(std::vector<EventField>& fields, const RoundReport& round) {
    const auto whole = [](double value) { return static_cast<std::uint64_t>(value); };
    const auto ms = [](Microseconds time) { return static_cast<std::uint64_t>(whole_ms(time)); };
    const auto& [figures, decision] = round;
    fields.emplace_back("dirty-pages", figures.dirty_pages);
    fields.emplace_back("dirty-pages-rate", whole(figures.dirty_pages_per_second()));
    fields.emplace_back("bandwidth", whole(decision.bandwidth));
    fields.emplace_back("expected-downtime", ms(decision.expected_downtime));
    fields.emplace_back("downtime-limit", ms(decision.downtime_limit));
    fields.emplace_back("cpu-throttle-percentage", std::uint64_t{decision.cpu_throttle});
}

// Pages that the guest makes dirty per second: of the last round, or else its own rate of writing
// before it was tracked; 0: not known.
std::uint64_t dirty_rate(const SendFigures& figures) {
    const double rate = figures.rounds.empty()
                            ? bytes_per_second({}, figures.before) / static_cast<double>(kPageSize)
                            : figures.rounds.back().figures.dirty_pages_per_second();
    return static_cast<std::uint64_t>(rate);
}

// Ends a round in which a connection was lost.
class EndOnLoss final : public LossWatch {
  public:
    EndOnLoss(const PeerLink& link, const SendChannelGroup& channels)
        : link_(link), channels_(channels) {}

    void begin() override {}
    // A channel that loses its connection ends the wait for the round, and so does the main one.
    std::optional<RoundGate::Clock::time_point> next_look() const override { return std::nullopt; }
    Status look() override {
        if (!link_.lost() && channels_.losses().unsettled().empty()) return {};
        return Error(ErrorKind::kLostConnection, "a connection was lost in the last round");
    }
    void in_round(const transport::RoundMark&) override {}
    Result<transport::Resumed> rejoin() override { return look().error(); }
    void hand_over(const transport::RoundMark&) override {}
    Status await_channel() override { return look(); }

  private:
    const PeerLink& link_;
    const SendChannelGroup& channels_;
};

}  // namespace

Result<SentRound> RoundSender::send(std::uint32_t round, RoundPlan plan) {
    channels_.want_tails(control_.tunables().avail_switchover_bandwidth == 0);
    MIGRATE_ASSIGN(SentRound sent, begin(round, plan));
    MIGRATE_TRY(channels_.run(round, std::move(plan), watches_));
    MIGRATE_TRY(continue_round(sent, end(sent)));
    return sent;
}

Result<SentRound> RoundSender::begin(std::uint32_t round, const RoundPlan& plan) {
    SentRound sent{.figures = {.round = round, .pages = plan.pages()},
                   .began = Clock::now(),
                   .sent = {},
                   .outages_before = channels_.losses().report().duration};
    core_.enter(Stage::kPagesMove);
    // The lock is not held while this is sent.
    const std::uint64_t rate = dirty_rate(*published_.lock());
    MIGRATE_TRY(start({.round = round, .pages = plan.pages(), .lost = {}, .dirty_rate = rate}));
    announce(round, plan.pages());
    return sent;
}

Status RoundSender::begin_switchover(std::uint32_t round, OnLoss on_loss) {
    switching_ = {.round = round, .on_loss = on_loss, .begun = {}};
    if (on_loss == OnLoss::kFail) return link_.fail_on_loss();
    if (!is_interrupted()) return {};
    return Error(ErrorKind::kLostConnection, "a connection was lost before the switchover");
}

// Not watched by those that add or replace channels: the guest is paused, so no time is left.
Result<SentRound> RoundSender::send_last(RoundPlan plan) {
    EndOnLoss watch(link_, channels_);
    const bool breaks_off = switching_->on_loss == OnLoss::kBreakOff;
    MIGRATE_ASSIGN(SentRound sent, begin(switching_->round, plan));
    switching_->begun = sent;
    MIGRATE_TRY(channels_.run(switching_->round, std::move(plan),
                              {.growth = nullptr, .losses = breaks_off ? &watch : nullptr}));
    MIGRATE_TRY(watch.look());
    MIGRATE_ASSIGN(const auto none, end(sent));
    static_cast<void>(none);
    switching_->begun = sent;
    return sent;
}

bool RoundSender::breaks_off(const Error& error) const {
    return switching_ && switching_->on_loss == OnLoss::kBreakOff && !core_.stopped() &&
           error.kind() == ErrorKind::kLostConnection && is_interrupted();
}

Result<RoundsLeft> RoundSender::return_to_precopy() {
    if (!link_.lost()) link_.leave();
    if (const std::optional<Error> reason = core_.cancellation().error()) return *reason;
    RoundsLeft left{.round = switching_->round, .begun = std::move(switching_->begun)};
    switching_.reset();
    return left;
}

Status RoundSender::start(const transport::RoundMark& mark) {
    const bool replaces =
        watches_.losses != nullptr && (!switching_ || switching_->on_loss == OnLoss::kBreakOff);
    if (replaces) watches_.losses->in_round(mark);
    Status started = link_.send(FrameType::kRoundStart, transport::encode(mark));
    if (started || switching_ || !replaces || !link_.lost()) return started;
    // Also sends ROUND_START, unless the receiver has it.
    MIGRATE_TRY(watches_.losses->rejoin());
    return {};
}

// Ends the round, or this part of it. If this side has lost channels, the receiver answers with a
// report of the pages that arrived: returns its first frame.
RoundSender::Answer RoundSender::end(SentRound& sent) {
    measure(sent);
    const transport::RoundMark mark{sent.figures.round, sent.figures.sent_pages(),
                                    channels_.losses().unsettled()};
    MIGRATE_TRY(link_.send(FrameType::kRoundEnd, transport::encode(mark)));
    sent.sent = Clock::now();
    if (mark.lost.empty()) return std::optional<Frame>();
    MIGRATE_ASSIGN(Frame frame, expect({FrameType::kRoundArrived, FrameType::kRoundBroken}));
    return std::optional<Frame>(std::move(frame));
}

void RoundSender::measure(SentRound& sent) const {
    const SendChannelGroup::RoundSent moved = channels_.round_sent();
    sent.figures.normal_pages = moved.normal_pages;
    sent.figures.postponed_pages = moved.postponed;
    sent.figures.bytes = moved.bytes;
    sent.tail = moved.tail;
    sent.figures.outages = channels_.losses().report().duration;
    sent.figures.outage = sent.figures.outages - sent.outages_before;
}

Status RoundSender::continue_round(SentRound& sent, Answer answer) {
    while (true) {
        if (!answer) {
            if (!repairs(answer.error())) return std::move(answer).error();
            MIGRATE_TRY(rejoin(sent));
            if (sent.complete) return {};
            // All channels are lost: the receiver answers with what is in place.
            answer = end(sent);
            continue;
        }
        if (!*answer) return {};
        answer = continue_broken(sent, **std::move(answer));
    }
}

// The error is the loss of the main channel, which can be made again.
bool RoundSender::repairs(const Error& lost) const {
    return watches_.losses != nullptr && !switching_ && link_.lost() &&
           lost.kind() == ErrorKind::kLostConnection;
}

void RoundSender::prepare_handover(const SentRound& last) {
    switching_.reset();
    if (watches_.losses == nullptr) return;
    watches_.losses->hand_over({last.figures.round, last.figures.pages});
}

// The receiver resumes the guest once, however often it hears that the guest is handed over.
Result<Frame> RoundSender::hand_over(Clock::time_point paused) {
    bool came = false;  // to the receiver, as it says
    while (true) {
        link_.stop_sending_heartbeats();
        Status sent = came ? Status() : link_.send(FrameType::kHandover, pause_time(paused));
        Result<Frame> done = sent ? link_.expect({FrameType::kDone}, std::nullopt)
                                  : Result<Frame>(std::move(sent).error());
        if (done || !repairs(done.error())) return done;
        MIGRATE_ASSIGN(const transport::Resumed there, watches_.losses->rejoin());
        came = there.handed_over;
    }
}

std::string RoundSender::pause_time(Clock::time_point paused) const {
    const Microseconds time = since(paused) + round_trip() / 2;
    return transport::encode(transport::PauseTime{static_cast<std::uint64_t>(time.count())});
}

// The main channel was lost after the round, or a part of it, was sent.
Status RoundSender::rejoin(SentRound& sent) {
    MIGRATE_ASSIGN(const transport::Resumed resumed, watches_.losses->rejoin());
    if (resumed.load) note_load(*resumed.load);
    sent.complete = resumed.complete && resumed.round == sent.figures.round;
    measure(sent);
    return {};
}

// Sends the pages of a broken round that did not arrive, and ends it again.
RoundSender::Answer RoundSender::continue_broken(SentRound& sent, Frame frame) {
    const std::uint32_t round = sent.figures.round;
    MIGRATE_ASSIGN(const ArrivedBitmaps arrived, await_arrived(round, std::move(frame)));
    const std::uint64_t missing = channels_.missing(arrived.bitmaps());
    log::info(
        "round {}: {} of {} pages are sent again or are still to come, because channels were lost",
        round, missing, sent.figures.pages);
    MIGRATE_TRY(link_.send(FrameType::kRoundAgain,
                           transport::encode(transport::RoundMark{round, missing})));
    MIGRATE_TRY(channels_.continue_round(arrived.bitmaps(), watches_));
    return end(sent);
}

void RoundSender::note_load(const transport::LoadTime& time) {
    load_time_ = Microseconds(time.microseconds);
    acked_ = true;
}

// Receives the rest of the report that begins with `frame`, settles the lost channels, and returns
// the pages of the round that have arrived.
Result<ArrivedBitmaps> RoundSender::await_arrived(std::uint32_t round, Frame frame) {
    MIGRATE_ASSIGN(ArrivedBitmaps arrived, ArrivedBitmaps::create(channels_.regions()));
    while (frame.type == FrameType::kRoundArrived) {
        MIGRATE_TRY(arrived.add(round, frame.body));
        MIGRATE_ASSIGN(frame, expect({FrameType::kRoundArrived, FrameType::kRoundBroken}));
    }
    MIGRATE_ASSIGN(const transport::RoundBreak broken, transport::decode_round_break(frame.body));
    if (broken.round != round || broken.arrived != arrived.pages()) {
        return make_error(
            ErrorKind::kProtocol,
            "expected ROUND_BROKEN with {} pages of round {}, got {} pages of round {}",
            arrived.pages(), round, broken.arrived, broken.round);
    }
    MIGRATE_TRY(channels_.settle_losses(broken.lost));
    return arrived;
}

// Publishes the plan of a round, and emits MIGRATION_PASS at its start, as QEMU does. The event has
// the pages of this round and the figures of the round before.
void RoundSender::announce(std::uint32_t round, std::uint64_t pages) {
    std::vector<EventField> fields{{"pass", std::uint64_t{round}},
                                   {"pages", pages},
                                   {"bytes", pages * kPageSize},
                                   {"transferred", link_.bytes_sent() + channels_.bytes()}};
    {
        const auto published = published_.lock();
        published->planned_pages += pages;
        published->dirty_pages = 0;
        published->round = round;
        published->round_pages = pages;
        if (!published->rounds.empty()) add_last_pass(fields, published->rounds.back());
    }
    core_.events().emit("MIGRATION_PASS", fields);
}

Result<RoundFigures> RoundSender::await_done(SentRound sent) {
    const std::uint32_t round = sent.figures.round;
    control_.say(fmt::format("while the sender waited for ROUND_DONE of round {}", round));
    while (!sent.complete) {
        Result<Frame> frame = expect({FrameType::kRoundDone, FrameType::kSwitchoverAck,
                                      FrameType::kRoundArrived, FrameType::kRoundBroken});
        if (!frame) {
            MIGRATE_TRY(continue_round(sent, std::move(frame).error()));
            continue;
        }
        if (frame->type == FrameType::kRoundArrived || frame->type == FrameType::kRoundBroken) {
            MIGRATE_TRY(continue_round(sent, std::optional(*std::move(frame))));
            continue;
        }
        if (frame->type == FrameType::kSwitchoverAck) {
            MIGRATE_ASSIGN(const transport::LoadTime time,
                           transport::decode_load_time(frame->body));
            note_load(time);
            continue;
        }
        MIGRATE_ASSIGN(const transport::RoundMark mark, transport::decode_round_mark(frame->body));
        if (mark.round != round) {
            return make_error(ErrorKind::kProtocol, "expected ROUND_DONE {}, got ROUND_DONE {}",
                              round, mark.round);
        }
        note_answer(since(sent.sent));
        break;
    }
    RoundFigures figures = sent.figures;
    figures.duration = since(sent.began);
    if (sent.tail) {
        figures.tail_bytes = sent.tail->bytes;
        figures.tail_time = since(sent.tail->began);
    }
    return figures;
}

Result<Frame> RoundSender::expect(FrameSet types) {
    Clock::time_point moved = Clock::now();
    std::uint64_t under_way = channels_.bytes_under_way();
    while (true) {
        MIGRATE_ASSIGN(std::optional<Frame> frame, link_.expect_within(types, kHeadwayInterval));
        if (frame) return *std::move(frame);
        const std::uint64_t left = channels_.bytes_under_way();
        if (std::exchange(under_way, left) != left) moved = Clock::now();
        const Microseconds limit = control_.tunables().stall_limit;
        if (limit.count() == 0 || Clock::now() - moved < limit) continue;
        return make_error(ErrorKind::kNotConverged,
                          "the receiver is alive but has not sent {} for {} ms (stall-limit)",
                          name_of(types.first()), limit.count() / 1000);
    }
}

}  // namespace migrate::engine
