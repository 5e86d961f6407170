/**
 * A message, and its way to bytes and back.
 *
 * @module
 */
import type { Fields, Layout, Value } from "../layout/struct.ts";
import { ProtocolError } from "./errors.ts";
import { HEADER } from "./layouts.ts";
import { MAX_MESSAGE_DESCRIPTORS, MAX_PAYLOAD_BYTES, VERSION, VERSION_MASK } from "./numbers.ts";

/** A file descriptor with one owner, as far as the protocol is concerned. */
export interface Descriptor {
  /** Its number. */
  readonly number: number;
  /** Closes it; closing twice is allowed. */
  close(): void;
}

/** One message. */
export interface Message {
  /** Its number. */
  readonly request: number;
  /** The header's flags. */
  readonly flags: number;
  /** What follows the header. */
  readonly payload: Uint8Array;
  /** Descriptors that came with it; whoever handles the message owns them. */
  readonly fds: readonly Descriptor[];
}

/**
 * Makes a message's bytes.
 *
 * @param request Its number.
 * @param flags The header's flags without the version.
 * @param payload What follows the header.
 */
export function encode(request: number, flags: number, payload: Uint8Array): Uint8Array {
  const data = new Uint8Array(HEADER.size + payload.length);
  const header = { request, flags: VERSION | flags, size: payload.length };
  HEADER.write(new DataView(data.buffer), 0, header);
  data.set(payload, HEADER.size);
  return data;
}

/** Makes a payload of a struct. */
export function payload<F extends Fields>(layout: Layout<F>, value: Value<F>): Uint8Array {
  const data = new Uint8Array(layout.size);
  layout.write(new DataView(data.buffer), 0, value);
  return data;
}

/** Reads a struct from a message's payload, which is long enough for it. */
export function read<F extends Fields>(layout: Layout<F>, message: Message, at = 0): Value<F> {
  const { buffer, byteOffset, byteLength } = message.payload;
  return layout.read(new DataView(buffer, byteOffset, byteLength), at);
}

/**
 * Cuts a stream of bytes into messages. It asks for exactly the bytes that it needs next, so that
 * descriptors, which arrive with the first byte of a header, are never mixed up.
 */
export class MessageDecoder {
  readonly #header = new Uint8Array(HEADER.size);
  #payload: Uint8Array | null = null;
  #filled = 0;
  #fds: Descriptor[] = [];

  /** Whether a message has begun but not ended. */
  get isMidMessage(): boolean {
    return this.#payload !== null || this.#filled > 0;
  }

  /** Where the next bytes go; never empty. */
  target(): Uint8Array {
    return (this.#payload ?? this.#header).subarray(this.#filled);
  }

  /**
   * Takes over what was received.
   *
   * @param length How many bytes of `target()` were filled.
   * @param fds Descriptors that came with them; owned by the decoder, then by the message.
   * @returns The message that this completes, or null.
   * @throws {ProtocolError} When the header cannot be one, or is too large.
   */
  received(length: number, fds: readonly Descriptor[]): Message | null {
    this.#fds.push(...fds);
    // Every part of a message can bring some: together no more than one message may carry.
    if (this.#fds.length > MAX_MESSAGE_DESCRIPTORS) {
      throw new ProtocolError(
        `a message came with more than ${MAX_MESSAGE_DESCRIPTORS} descriptors`,
      );
    }
    this.#filled += length;
    if (this.#payload === null) {
      if (this.#filled < HEADER.size) return null;
      this.#payload = new Uint8Array(payloadBytes(this.#header));
      this.#filled = 0;
    }
    return this.#filled < this.#payload.length ? null : this.#finish(this.#payload);
  }

  /** Closes descriptors of a message that was not completed. */
  close(): void {
    for (const fd of this.#fds) fd.close();
    this.#fds = [];
  }

  #finish(payload: Uint8Array): Message {
    const { request, flags } = HEADER.read(new DataView(this.#header.buffer));
    const message = { request, flags, payload, fds: this.#fds };
    this.#payload = null;
    this.#filled = 0;
    this.#fds = [];
    return message;
  }
}

function payloadBytes(header: Uint8Array<ArrayBuffer>): number {
  const { request, flags, size } = HEADER.read(new DataView(header.buffer));
  if ((flags & VERSION_MASK) !== VERSION) {
    throw new ProtocolError(`message ${request} has version ${flags & VERSION_MASK}, want 1`);
  }
  if (size > MAX_PAYLOAD_BYTES) {
    throw new ProtocolError(`message ${request} has ${size} bytes, at most ${MAX_PAYLOAD_BYTES}`);
  }
  return size;
}
