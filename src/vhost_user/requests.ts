/**
 * The request table: what each front-end message carries, needs and gets.
 *
 * It is the single place that knows this; the back-end checks every message against it before it
 * looks at a byte of the payload.
 *
 * @module
 */
import { MEMORY_REGION, MEMORY_TABLE_HEAD, U64, VRING_ADDRESS, VRING_STATE } from "./layouts.ts";
import {
  MAX_TABLE_REGIONS,
  Request,
  type RequestNumber,
  VHOST_USER_PROTOCOL_F_MQ,
} from "./numbers.ts";

/** What is known of one request. */
export interface RequestRule {
  /** Its name in the specification, without the prefix VHOST_USER. */
  readonly name: string;
  /** Fewest and most bytes of the payload. */
  readonly bytes: readonly [number, number];
  /** Fewest and most descriptors. */
  readonly fds: readonly [number, number];
  /** The protocol feature that must be negotiated first. */
  readonly gate?: number;
  /** Whether it has a reply of its own; otherwise it is acknowledged on demand. */
  readonly hasReply?: boolean;
}

const NOTHING = [0, 0] as const;
const OPTIONAL_FD = [0, 1] as const;

function exactly(layout: { readonly size: number }): readonly [number, number] {
  return [layout.size, layout.size];
}

const u64 = exactly(U64);
const state = exactly(VRING_STATE);
const address = exactly(VRING_ADDRESS);
const table = [
  MEMORY_TABLE_HEAD.size,
  MEMORY_TABLE_HEAD.size + MAX_TABLE_REGIONS * MEMORY_REGION.size,
] as const;

/** Every request that the back-end knows, by number. */
export const REQUESTS: Readonly<Record<RequestNumber, RequestRule>> = {
  [Request.GET_FEATURES]: rule("GET_FEATURES", NOTHING, { hasReply: true }),
  [Request.SET_FEATURES]: rule("SET_FEATURES", u64),
  [Request.SET_OWNER]: rule("SET_OWNER", NOTHING),
  [Request.RESET_OWNER]: rule("RESET_OWNER", NOTHING),
  [Request.SET_MEM_TABLE]: rule("SET_MEM_TABLE", table, { fds: [0, MAX_TABLE_REGIONS] }),
  [Request.SET_VRING_NUM]: rule("SET_VRING_NUM", state),
  [Request.SET_VRING_ADDR]: rule("SET_VRING_ADDR", address),
  [Request.SET_VRING_BASE]: rule("SET_VRING_BASE", state),
  [Request.GET_VRING_BASE]: rule("GET_VRING_BASE", state, { hasReply: true }),
  [Request.SET_VRING_KICK]: rule("SET_VRING_KICK", u64, { fds: OPTIONAL_FD }),
  [Request.SET_VRING_CALL]: rule("SET_VRING_CALL", u64, { fds: OPTIONAL_FD }),
  [Request.SET_VRING_ERR]: rule("SET_VRING_ERR", u64, { fds: OPTIONAL_FD }),
  [Request.GET_PROTOCOL_FEATURES]: rule("GET_PROTOCOL_FEATURES", NOTHING, { hasReply: true }),
  [Request.SET_PROTOCOL_FEATURES]: rule("SET_PROTOCOL_FEATURES", u64),
  [Request.GET_QUEUE_NUM]: rule("GET_QUEUE_NUM", NOTHING, {
    gate: VHOST_USER_PROTOCOL_F_MQ,
    hasReply: true,
  }),
  [Request.SET_VRING_ENABLE]: rule("SET_VRING_ENABLE", state),
};

/** The rule of a request, or null when it is not known. */
export function ruleOf(request: number): RequestRule | null {
  return (REQUESTS as Readonly<Record<number, RequestRule>>)[request] ?? null;
}

function rule(
  name: string,
  bytes: readonly [number, number],
  more: Partial<Pick<RequestRule, "fds" | "gate" | "hasReply">> = {},
): RequestRule {
  return { name, bytes, fds: NOTHING, ...more };
}
