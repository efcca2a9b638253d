// Catch2 2.13 and 3.x behind one include.
#pragma once

#ifdef MIGRATE_CATCH2_V3
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
