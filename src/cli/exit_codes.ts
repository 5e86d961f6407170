/**
 * Exit codes of the command.
 *
 * @module
 */

/** It worked. */
export const EXIT_OK = 0;
/** It did not work at run time. */
export const EXIT_FAILURE = 1;
/** The command line is wrong. */
export const EXIT_USAGE = 2;
/** The topology file is wrong. */
export const EXIT_TOPOLOGY = 3;
