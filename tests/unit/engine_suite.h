/* What every engine must do, seen through engine/engine.h only.
 *
 * open: makes a new, empty store (fresh) or opens the one made last. Returns how many tests failed.
 *
 * To be killed, the suite starts the test program again, with ENGINE_SUITE_CHILD set: then open
 * must find the store that the parent made (pass its place in the environment), and the call with
 * the name given there does not return. */
#pragma once

#include "engine/engine.h"

int engine_suite_run(const char *name, err (*open)(bool fresh, engine **ret));
