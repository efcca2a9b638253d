// SPDX-License-Identifier: Apache-2.0
// A remark on system calls that the kernel denied. A process that gave up rights of its own sets it
// once; Error::system() appends it to the text of EPERM and EACCES, so that the user learns of a
// possible cause that the kernel's error does not name.
#pragma once

namespace migrate {

// `note` is a literal. Any thread may call either function.
void set_denial_note(const char* note);
// Null if no note was set.
const char* denial_note();

}  // namespace migrate
