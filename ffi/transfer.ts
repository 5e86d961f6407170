/**
 * What passes between a Unix socket and this thread in one system call: bytes, and descriptors in a
 * control message (recvmsg(2), unix(7)).
 *
 * @module
 */
import { i32le, u64le } from "../src/layout/struct.ts";
import { addressOf } from "./address.ts";
import { EINVAL, OsError } from "./errno.ts";
import type { Fd } from "./fd.ts";
import { CMSGHDR, controlLength, controlSpace, IOVEC, MSGHDR } from "./layouts.ts";

/** The most bytes of one call: many times the largest vhost-user message. */
const MOST_BYTES = 65_536;
/**
 * The most descriptors that the kernel passes with one message (SCM_MAX_FD). There is room for all,
 * because the kernel closes the rest itself, and we would wait for that.
 */
const MOST_DESCRIPTORS = 253;
const DESCRIPTOR_BYTES = 4;
/** The level of what concerns every kind of socket (asm-generic/socket.h). */
export const SOL_SOCKET = 1;
// bits/socket.h
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;

/**
 * What recvmsg and sendmsg are given: the structs, and bytes and control messages on their way. Made
 * once, because messages are many and short, and every buffer whose address is asked for is an
 * allocation outside of V8's heap.
 *
 * SAFETY: the header holds addresses of this object's own buffers, which live as long as it does.
 */
export class Transfer {
  /** `struct msghdr`, and behind it its only `struct iovec`. */
  readonly header: Uint8Array<ArrayBuffer> = new Uint8Array(MSGHDR.size + IOVEC.size);
  readonly #view = new DataView(this.header.buffer);
  readonly #bytes = new Uint8Array(MOST_BYTES);
  readonly #control = new DataView(
    new ArrayBuffer(controlSpace(MOST_DESCRIPTORS * DESCRIPTOR_BYTES)),
  );

  constructor() {
    MSGHDR.write(this.#view, 0, {
      ...{ msg_name: 0n, msg_namelen: 0, msg_flags: 0 },
      ...{ msg_iov: addressOf(this.header) + BigInt(MSGHDR.size), msg_iovlen: 1n },
      ...{ msg_control: addressOf(this.#control), msg_controllen: 0n },
    });
    IOVEC.write(this.#view, MSGHDR.size, { iov_base: addressOf(this.#bytes), iov_len: 0n });
  }

  /** Makes room for so many bytes, and for as many descriptors as can come. */
  prepareToReceive(length: number): void {
    this.#prepare(Math.min(length, MOST_BYTES), this.#control.byteLength);
  }

  /**
   * Takes over what is to be sent.
   *
   * @throws {OsError} EINVAL when there are more descriptors than the kernel passes.
   */
  prepareToSend(data: Uint8Array, fds: readonly Fd[]): void {
    if (fds.length > MOST_DESCRIPTORS) throw new OsError("send descriptors", EINVAL);
    const sent = data.subarray(0, MOST_BYTES);
    this.#bytes.set(sent);
    const fdBytes = fds.length * DESCRIPTOR_BYTES;
    this.#prepare(sent.length, fdBytes === 0 ? 0 : controlSpace(fdBytes));
    if (fdBytes === 0) return;
    const cmsg_len = BigInt(controlLength(fdBytes));
    CMSGHDR.write(this.#control, 0, { cmsg_len, cmsg_level: SOL_SOCKET, cmsg_type: SCM_RIGHTS });
    fds.forEach(({ number }, i) => {
      i32le.set(this.#control, CMSGHDR.size + i * DESCRIPTOR_BYTES, number);
    });
  }

  /** The bytes that came; valid until the next transfer. */
  received(length: number): Uint8Array {
    return this.#bytes.subarray(0, length);
  }

  /** Whether the kernel had more descriptors than there was room for. */
  get isTruncated(): boolean {
    return (i32le.get(this.#view, MSGHDR.offset.msg_flags) & MSG_CTRUNC) !== 0;
  }

  /** Takes ownership of the descriptors that came. */
  descriptors(adopt: (number: number) => Fd): Fd[] {
    const length = Number(u64le.get(this.#view, MSGHDR.offset.msg_controllen));
    const found: Fd[] = [];
    for (let at = 0; at + CMSGHDR.size <= length;) {
      const { cmsg_len, cmsg_level, cmsg_type } = CMSGHDR.read(this.#control, at);
      const dataBytes = Number(cmsg_len) - CMSGHDR.size;
      if (cmsg_level === SOL_SOCKET && cmsg_type === SCM_RIGHTS) {
        for (let i = 0; i + DESCRIPTOR_BYTES <= dataBytes; i += DESCRIPTOR_BYTES) {
          found.push(adopt(i32le.get(this.#control, at + CMSGHDR.size + i)));
        }
      }
      at += controlSpace(dataBytes);
    }
    return found;
  }

  #prepare(length: number, controlBytes: number): void {
    u64le.set(this.#view, MSGHDR.size + IOVEC.offset.iov_len, BigInt(length));
    u64le.set(this.#view, MSGHDR.offset.msg_controllen, BigInt(controlBytes));
  }
}
