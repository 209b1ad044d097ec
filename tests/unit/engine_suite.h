/* What every engine must do, seen through engine/engine.h only.
 *
 * open: makes a new, empty store (fresh) or opens the one made last; called in this process and in
 * children that are killed. Returns how many tests failed. */
#pragma once

#include "engine/engine.h"

int engine_suite_run(const char *name, err (*open)(bool fresh, engine **ret));
