/**
 * The two ways in which a back-end says no.
 *
 * @module
 */

/**
 * The request cannot be carried out, the conversation may go on: the front-end gets a negative
 * acknowledgement if it asked for one, and is disconnected otherwise, because it would go on as if
 * all were well.
 */
export class RequestRefused extends Error {
  /** The name of the class. */
  override readonly name = "RequestRefused";
}

/** The front-end broke the protocol: what follows cannot be trusted, the connection is closed. */
export class ProtocolError extends Error {
  /** The name of the class. */
  override readonly name = "ProtocolError";
}
