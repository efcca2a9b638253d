// SPDX-License-Identifier: Apache-2.0
// The bodies of all control frames: the handshake's offer and its answer, and what follows.
#pragma once

#include "transport/accept.hpp"
#include "transport/control_messages.hpp"
#include "transport/offer.hpp"
#include "transport/session_id.hpp"
