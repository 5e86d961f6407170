/**
 * Exit codes of the command.
 *
 * @module
 */

/** It worked. */
export const EXIT_OK = 0;
/** It cannot be done, for a reason that the user can do something about. */
export const EXIT_FAILURE = 1;
/** The command line is wrong. */
export const EXIT_USAGE = 2;
/** The topology file is wrong. */
export const EXIT_TOPOLOGY = 3;
/**
 * What a supervised switch returns in place of {@linkcode EXIT_FAILURE}, which is also what Deno
 * returns when it panics. EX_UNAVAILABLE of sysexits.h.
 */
export const EXIT_REFUSED = 69;
/** The program itself failed: a fault of ours. EX_SOFTWARE of sysexits.h. */
export const EXIT_CRASH = 70;
