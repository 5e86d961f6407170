/**
 * The ring module: everything that looks at one port's guest memory.
 *
 * It is instantiated per Worker and port with two memories, the switch's state and that port's.
 */
import { arm, disarm } from "./idle.ts";
import { complete, receive } from "./receive.ts";
import { publish, reserve } from "./transmit.ts";

export { arm, complete, disarm, publish, receive, reserve };
