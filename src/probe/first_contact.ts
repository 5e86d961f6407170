/**
 * What a front-end meets where it looks for a back-end, in words for its user.
 *
 * @module
 */
import { ECONNREFUSED, type OsError } from "../../ffi/errno.ts";
import { BackendGone, BackendSilent } from "../host/converse.ts";
import { ProtocolError } from "../vhost_user/errors.ts";
import { HungUp, NoAnswer, Unreachable } from "./verdict.ts";

/** What error codes mean to a user. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  ENOTDIR: "it does not exist",
  ECONNREFUSED: "nobody listens there",
  EACCES: "it is not permitted",
  EAGAIN: "nobody accepts connections",
};

/**
 * Says why nobody could be connected to.
 *
 * @param path Where a back-end should listen.
 * @param error What the system said.
 */
export function cannotConnect(path: string, { errno, code, message }: OsError): Unreachable {
  // The kernel refuses a connection to any other file as if it were a socket that nobody listens on.
  const isOther = errno === ECONNREFUSED && !isSocket(path);
  const reason = isOther ? "this is no socket" : REASONS[code];
  return new Unreachable(reason === undefined ? message : `Cannot connect to ${path}: ${reason}`);
}

/**
 * Says why the first words with whoever listens led nowhere.
 *
 * @param error What ended them.
 * @param who Who listens, as the user knows it.
 * @returns What to tell; null when the error is none of these.
 */
export function cannotTalk(error: unknown, who = "the back-end"): Unreachable | null {
  const reason = reasonOf(error);
  return reason === null ? null : new Unreachable(`Cannot talk to ${who}: ${reason}`);
}

function reasonOf(error: unknown): string | null {
  if (error instanceof HungUp || error instanceof BackendGone) {
    return "it accepts connections and closes them; it may have another front-end";
  }
  if (error instanceof NoAnswer) return error.message;
  if (error instanceof BackendSilent) return error.reason;
  return error instanceof ProtocolError ? `it is none, ${error.message}` : null;
}

// What cannot be looked at may be one.
function isSocket(path: string): boolean {
  try {
    return Deno.statSync(path).isSocket === true;
  } catch {
    return true;
  }
}
