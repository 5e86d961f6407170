/**
 * Rows of frames and senders that abuse a bridge (L).
 *
 * @module
 */
import { type Row, rowsOf } from "../row.ts";

/** L01 to L24. */
export const FRAME_ROWS: readonly Row[] = rowsOf([
  ["L01", "shorter than an Ethernet header", "dropped, counted"],
  ["L02", "longer than the port's MTU", "dropped, counted"],
  ["L03", "source is a group, everybody, zero", "not learned"],
  ["L04", "destination is zero", "flooded"],
  ["L05", "source that flaps between ports", "counted, bounded"],
  ["L06", "a million sources from one port", "table bounded, others stay"],
  ["L07", "the same from all ports", "table bounded, frames pass"],
  ["L08", "sources that meet in the hash", "bounded"],
  ["L09", "two ports joined inside a guest", "bounded, others go on"],
  ["L10", "destination is where the frame came from", "dropped"],
  ["L11", "link-local group addresses", "flooded"],
  ["L12", "tags: cut short, double, id 4095, priority", "passed on"],
  ["L13", "frames up to 65535 bytes by segmentation", "OK"],
  ["L14", "a super-packet to ports with different offloads", "each gets a legal form"],
  ["L15", "broadcasts as fast as possible", "others keep their share"],
  ["L16", "the port of an address goes away", "forgotten at once"],
  ["L17", "the clock jumps by a day", "OK, ages by the monotonic clock"],
  ["L18", "wrong IP and TCP lengths with offloads", "passed on, dropped where to be cut"],
  ["L19", "tries to reach another bridge", "nothing passes"],
  ["L20", "an address moves to another port", "follows with the first frame"],
  ["L21", "one flow over many queues", "keeps its order"],
  ["L22", "floods to 1 to 255 ports", "OK"],
  ["L23", "a receiver looks at padding and header", "no byte of others"],
  ["L24", "capture of all of the above", "a good file", "there is no capture yet"],
]);
