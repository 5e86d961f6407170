/**
 * What one side of the bulk pair sends, and whether the other side gets just that: frames of mixed
 * sizes with numbers in them, and super-packets that the switch cuts for a receiver without
 * segmentation offload.
 *
 *     cycle: | 48 frames of 64, 512 and 1514 bytes in turn | one super-packet, if there are any |
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ETHERTYPE_EXPERIMENT, ETHERTYPE_IPV4 } from "../../src/ethernet/frame.ts";
import { makeFrame } from "../support/frames.ts";
import { build, cut, offloadHeader, type Packet, TCP_ACK } from "../support/packets.ts";

/** Bytes of the frames of a cycle, in turn. */
const SIZES = [64, 512, 1514] as const;
/** Frames of a cycle before its super-packet. */
const PLAIN_FRAMES = 48;
/** The largest payload that IPv4's total length admits beside 20 + 32 bytes of headers. */
const SUPER_PAYLOAD_BYTES = 65_483;
/** What fits into 1500 bytes beside the same headers. */
const MSS = 1448;
/** Frames that a super-packet is cut into. */
export const PIECES: number = Math.ceil(SUPER_PAYLOAD_BYTES / MSS);
/** Super-packets that differ; told apart by the upper half of their sequence number. */
const VARIANTS = 16;
const TYPE_AT = 12;
const NUMBER_AT = 14;
const SEQUENCE_AT = 14 + 20 + 4;

/** What is handed to the switch as one chain. */
export interface Chain {
  /** The frame. */
  readonly frame: Uint8Array;
  /** Its virtio-net header; zeros when left out. */
  readonly header?: Uint8Array;
  /** Frames that the receiver gets for it. */
  readonly frames: number;
}

/** A super-packet, and what is to become of it. */
interface SuperPacket {
  readonly chain: Chain;
  readonly pieces: readonly Uint8Array[];
}

/** How a received frame compares with what was due. */
export type Arrival =
  /** It was due, or frames before it are missing. */
  | { readonly kind: "good"; readonly missing: number }
  /** It is part of another conversation. */
  | { readonly kind: "foreign" }
  /** It is damaged, or comes too late. */
  | { readonly kind: "bad"; readonly reason: string };

/** An endless stream of frames. */
export class Stream {
  readonly #templates: readonly Uint8Array<ArrayBuffer>[];
  readonly #packets: readonly SuperPacket[];
  readonly #to: Uint8Array;
  /** Chains of a cycle, and frames that arrive for them. */
  readonly #chains: number;
  readonly #frames: number;
  #nextChain = 0;
  #nextFrame = 0;

  /**
   * @param from The sender's address.
   * @param to The receiver's address.
   * @param hasSuperPackets Whether the sender has segmentation offload.
   */
  constructor(from: string, to: string, hasSuperPackets: boolean) {
    this.#templates = SIZES.map((size) => makeFrame(to, from, size));
    this.#to = this.#templates[0]!.slice(0, 6);
    this.#packets = hasSuperPackets
      ? Array.from({ length: VARIANTS }, (_, variant) => superPacket(from, to, variant))
      : [];
    this.#chains = PLAIN_FRAMES + (hasSuperPackets ? 1 : 0);
    this.#frames = PLAIN_FRAMES + (hasSuperPackets ? PIECES : 0);
  }

  /** The next chain to send; it must be copied before the call after this one. */
  peek(): Chain {
    const number = this.#nextChain;
    const position = number % this.#chains;
    if (position < PLAIN_FRAMES) return { frame: this.#plain(number, position), frames: 1 };
    return this.#packets[Math.floor(number / this.#chains) % VARIANTS]!.chain;
  }

  /** The chain of {@linkcode peek} was taken. */
  advance(): void {
    this.#nextChain++;
  }

  /** Compares a frame with what is due. */
  accept(frame: Uint8Array): Arrival {
    if (Buffer.compare(frame.subarray(0, 6), this.#to) !== 0) return { kind: "foreign" };
    const number = this.#numberOf(frame);
    if (number === null) return { kind: "foreign" };
    const missing = number - this.#nextFrame;
    if (missing < 0) return { kind: "bad", reason: `frame ${number} comes ${-missing} too late` };
    const expected = this.#frameAt(number);
    if (expected === undefined || Buffer.compare(frame, expected) !== 0) {
      return { kind: "bad", reason: `frame ${number} of ${frame.length} bytes is damaged` };
    }
    this.#nextFrame = number + 1;
    return { kind: "good", missing };
  }

  // Which frame of the stream it says it is, or null when it does not belong to it.
  #numberOf(frame: Uint8Array): number | null {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    const type = view.getUint16(TYPE_AT);
    if (type === ETHERTYPE_EXPERIMENT) {
      const chain = view.getUint32(NUMBER_AT);
      return Math.floor(chain / this.#chains) * this.#frames + chain % this.#chains;
    }
    if (type !== ETHERTYPE_IPV4 || this.#packets.length === 0) return null;
    const sequence = view.getUint32(SEQUENCE_AT);
    const piece = Math.floor((sequence & 0xffff) / MSS);
    return this.#cycleOf(sequence >>> 16) * this.#frames + PLAIN_FRAMES + piece;
  }

  // The first cycle from the current one on that has this super-packet.
  #cycleOf(variant: number): number {
    const cycle = Math.floor(this.#nextFrame / this.#frames);
    return cycle + (variant - cycle % VARIANTS + VARIANTS) % VARIANTS;
  }

  #frameAt(number: number): Uint8Array | undefined {
    const cycle = Math.floor(number / this.#frames);
    const position = number % this.#frames;
    if (position < PLAIN_FRAMES) return this.#plain(cycle * this.#chains + position, position);
    return this.#packets[cycle % VARIANTS]!.pieces[position - PLAIN_FRAMES];
  }

  #plain(number: number, position: number): Uint8Array {
    const frame = this.#templates[position % SIZES.length]!;
    new DataView(frame.buffer).setUint32(NUMBER_AT, number);
    return frame;
  }
}

function superPacket(from: string, to: string, variant: number): SuperPacket {
  const packet: Packet = {
    ...{ to, from, tags: [], version: 4, transport: "tcp" },
    ...{ networkOptions: 0, transportOptions: 12, flags: TCP_ACK, ports: [40_000, 5201] },
    identification: variant,
    sequence: variant * 2 ** 16,
    payload: Uint8Array.from({ length: SUPER_PAYLOAD_BYTES }, (_, i) => (variant + i * 7) & 0xff),
  };
  const pieces = cut(packet, MSS).map((piece) => build(piece, false).frame);
  const { frame } = build(packet, true);
  return { pieces, chain: { frame, header: offloadHeader(packet, MSS), frames: pieces.length } };
}
