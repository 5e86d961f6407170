/**
 * The request table: what each front-end message carries, needs and gets.
 *
 * It is the single place that knows this; the back-end checks every message against it before it
 * looks at a byte of the payload.
 *
 * @module
 */
import {
  LOG,
  MEMORY_REGION,
  MEMORY_TABLE_HEAD,
  SINGLE_REGION,
  U64,
  VRING_ADDRESS,
  VRING_STATE,
} from "./layouts.ts";
import {
  MAX_TABLE_REGIONS,
  Request,
  type RequestNumber,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F_LOG_SHMFD,
  VHOST_USER_PROTOCOL_F_MQ,
  VHOST_USER_PROTOCOL_F_NET_MTU,
  VHOST_USER_PROTOCOL_F_RARP,
  VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  VHOST_USER_PROTOCOL_F_STATUS,
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
  /** Whether it changes what running rings work on, so that they must stand still meanwhile. */
  readonly needsQuiet?: boolean;
}

const NOTHING = [0, 0] as const;
const OPTIONAL_FD = [0, 1] as const;
const ONE_FD = [1, 1] as const;

function exactly(layout: { readonly size: number }): readonly [number, number] {
  return [layout.size, layout.size];
}

const u64 = exactly(U64);
const state = exactly(VRING_STATE);
const address = exactly(VRING_ADDRESS);
const region = exactly(SINGLE_REGION);
const table = [
  MEMORY_TABLE_HEAD.size,
  MEMORY_TABLE_HEAD.size + MAX_TABLE_REGIONS * MEMORY_REGION.size,
] as const;

/** Every request that the back-end knows, by number. */
export const REQUESTS: Readonly<Record<RequestNumber, RequestRule>> = {
  [Request.GET_FEATURES]: rule("GET_FEATURES", NOTHING, { hasReply: true }),
  [Request.SET_FEATURES]: rule("SET_FEATURES", u64, { needsQuiet: true }),
  [Request.SET_OWNER]: rule("SET_OWNER", NOTHING),
  [Request.RESET_OWNER]: rule("RESET_OWNER", NOTHING),
  [Request.SET_MEM_TABLE]: rule("SET_MEM_TABLE", table, {
    fds: [0, MAX_TABLE_REGIONS],
    needsQuiet: true,
  }),
  [Request.SET_LOG_BASE]: rule("SET_LOG_BASE", exactly(LOG), {
    fds: ONE_FD,
    gate: VHOST_USER_PROTOCOL_F_LOG_SHMFD,
    hasReply: true,
    needsQuiet: true,
  }),
  [Request.SET_LOG_FD]: rule("SET_LOG_FD", NOTHING, { fds: ONE_FD }),
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
  [Request.SEND_RARP]: rule("SEND_RARP", u64, { gate: VHOST_USER_PROTOCOL_F_RARP }),
  [Request.NET_SET_MTU]: rule("NET_SET_MTU", u64, {
    gate: VHOST_USER_PROTOCOL_F_NET_MTU,
    needsQuiet: true,
  }),
  [Request.RESET_DEVICE]: rule("RESET_DEVICE", NOTHING, {
    gate: VHOST_USER_PROTOCOL_F_RESET_DEVICE,
  }),
  [Request.GET_MAX_MEM_SLOTS]: rule("GET_MAX_MEM_SLOTS", NOTHING, {
    gate: VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
    hasReply: true,
  }),
  [Request.ADD_MEM_REG]: rule("ADD_MEM_REG", region, {
    fds: ONE_FD,
    gate: VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
    needsQuiet: true,
  }),
  // The specification wants no descriptor there; some front-ends send one all the same.
  [Request.REM_MEM_REG]: rule("REM_MEM_REG", region, {
    fds: OPTIONAL_FD,
    gate: VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
    needsQuiet: true,
  }),
  [Request.SET_STATUS]: rule("SET_STATUS", u64, { gate: VHOST_USER_PROTOCOL_F_STATUS }),
  [Request.GET_STATUS]: rule("GET_STATUS", NOTHING, {
    gate: VHOST_USER_PROTOCOL_F_STATUS,
    hasReply: true,
  }),
};

/** The rule of a request, or null when it is not known. */
export function ruleOf(request: number): RequestRule | null {
  return (REQUESTS as Readonly<Record<number, RequestRule>>)[request] ?? null;
}

function rule(
  name: string,
  bytes: readonly [number, number],
  more: Partial<Pick<RequestRule, "fds" | "gate" | "hasReply" | "needsQuiet">> = {},
): RequestRule {
  return { name, bytes, fds: NOTHING, ...more };
}
