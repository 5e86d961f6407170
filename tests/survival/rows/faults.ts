/**
 * Rows of faults: what nobody means, but what happens to programs and machines (X).
 *
 * @module
 */
import { type Row, rowsOf } from "../row.ts";

/** What a running switch does is what its file said when it started. */
const NO_RELOAD = "a running switch cannot change its topology yet";

/** X01 to X32. */
export const FAULT_ROWS: readonly Row[] = rowsOf([
  // Front-ends and guests.
  ["X01", "a front-end is killed in full traffic", "port free at once, others lossless"],
  ["X02", "a thousand front-ends are killed", "everything given back"],
  ["X03", "QEMU starts again on the same socket", "its guest is reachable"],
  ["X04", "a guest restarts, or panics", "it is reachable again"],
  // Saving and loading its state is a migration to a file, see X12.
  ["X05", "a guest is paused and goes on", "it is reachable again"],
  // The switch itself.
  ["X06", "the switch is killed in full traffic", "guests are back with the next one"],
  ["X07", "the same again and again, at any instant", "always"],
  ["X08", "the switch starts before its guests, or after them", "both work"],
  ["X09", "a poll Worker dies", "replaced, others lossless"],
  // Memory and migration.
  ["X10", "memory is plugged into a guest under load", "traffic goes on"],
  ["X11", "memory is taken out of a guest: unplugged, ballooned", "traffic goes on"],
  ["X12", "a guest moves to another port while it runs", "no page is missed"],
  // Changes.
  ["X13", "a topology with one port more, less, or changed", "others untouched", NO_RELOAD],
  ["X14", "a topology with a mistake", "the old one goes on", NO_RELOAD],
  ["X15", "a thousand changes of the topology", "everything given back", NO_RELOAD],
  // Limits.
  ["X16", "no descriptor is left", "a clear line, live ports go on"],
  // A limit of a control group kills, see X18; it makes no call fail.
  ["X17", "guest memory cannot be mapped", "R4, others go on"],
  ["X18", "the kernel kills the switch because memory is short", "as X06"],
  // There is no capture yet: the output is all that a switch writes to a disk.
  ["X19", "a full disk", "works on"],
  // Load.
  ["X20", "ten times the load that a guest can take, then little", "no loss from then on"],
  ["X21", "a guest that takes its frames slowly", "only its own frames are dropped"],
  ["X22", "a client that reads statistics slowly", "bounded", "nobody can ask a switch yet"],
  ["X23", "a reader of the output that stops", "works on, missing lines counted"],
  // Time.
  ["X24", "one processor, shared with a program that never rests", "slower, nothing else"],
  ["X25", "the process is stopped for two seconds", "goes on where it was"],
  ["X26", "the time of day jumps; the machine sleeps", "nothing ages, nothing ends early"],
  // Paths.
  ["X27", "sockets or folders removed, taken, with too long a path", "a clear line, guests stay"],
  ["X28", "sockets left over from a switch that was killed", "replaced"],
  // Other versions.
  ["X29", "QEMU and DPDK of several versions, with every kind of ring", "OK"],
  ["X30", "a switch is replaced by its next version", "nothing is lost"],
  // The end.
  ["X31", "told to stop at any moment", "ends in a second, sockets removed"],
  ["X32", "a long time under mixed load", "neither grows nor slows down"],
]);
