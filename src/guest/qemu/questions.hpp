// SPDX-License-Identifier: Apache-2.0
// The questions of checks that ask QEMU several things. They are sent together, so that QEMU
// answers one after the other without waiting for this side. A question that a check asks but that
// is missing here costs a round trip, and nothing else.
#pragma once

#include <initializer_list>
#include <vector>

#include "guest/qemu/known_answers.hpp"
#include "guest/qemu/monitor.hpp"

namespace migrate::guest {

// check_same_memory() asks these.
std::vector<Question> memory_questions(const Monitor& monitor);
// check_no_host_device(), check_devices_are_whole() and outside_writer() ask these.
std::vector<Question> device_questions();
// query_machine() asks these of every machine, and the second one of a machine that it does not
// know yet.
std::vector<Question> machine_questions();
Question machine_type_question();
// They ask whether the guest runs, and whether another client migrates it.
std::vector<Question> state_questions();

std::vector<Question> joined(std::initializer_list<std::vector<Question>> lists);

}  // namespace migrate::guest
