/**
 * The ring module: everything that looks at one port's guest memory.
 *
 * It is instantiated per Worker and port with two memories, the switch's state and that port's.
 */
import { arm, disarm } from "./idle.ts";
import { announce, complete, receive } from "./receive.ts";
import { publish, reserve } from "./transmit.ts";

export { announce, arm, complete, disarm, publish, receive, reserve };
