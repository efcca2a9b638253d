// The questions of checks that ask QEMU several things. They are sent together, so that QEMU
// answers one after the other without waiting for this side. A question that a check asks but that
// is missing here costs a round trip, and nothing else.
#pragma once

#include <initializer_list>
#include <vector>

#include "guest/qemu/known_answers.hpp"
#include "guest/qemu/monitor.hpp"

namespace migrate::guest {

// Those of check_same_memory().
std::vector<Question> memory_questions(const Monitor& monitor);
// Those of check_no_host_device(), check_devices_are_whole() and outside_writer().
std::vector<Question> device_questions();
// Those of query_machine() for a machine that is known; for another one also the second one.
std::vector<Question> machine_questions();
Question machine_type_question();
// Whether the guest runs, and whether another client migrates it.
std::vector<Question> state_questions();

std::vector<Question> joined(std::initializer_list<std::vector<Question>> lists);

}  // namespace migrate::guest
