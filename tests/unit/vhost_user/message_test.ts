import { deepStrictEqual, doesNotThrow, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { ProtocolError } from "../../../src/vhost_user/errors.ts";
import {
  type Descriptor,
  encode,
  type Message,
  MessageDecoder,
} from "../../../src/vhost_user/message.ts";
import { MAX_PAYLOAD_BYTES } from "../../../src/vhost_user/numbers.ts";

/** A descriptor that counts how often it was closed. */
class FakeDescriptor implements Descriptor {
  closed = 0;
  constructor(readonly number: number) {}
  close(): void {
    this.closed++;
  }
}

/** Gives the decoder bytes, never more at a time than it asks for nor than the next cut allows. */
function feed(decoder: MessageDecoder, data: Uint8Array, cuts: readonly number[] = []): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < data.length;) {
    const target = decoder.target();
    ok(target.length > 0);
    const end = Math.min(data.length, ...cuts.filter((cut) => cut > at));
    const length = Math.min(target.length, end - at);
    target.set(data.subarray(at, at + length));
    const message = decoder.received(length, []);
    if (message !== null) messages.push(message);
    at += length;
  }
  return messages;
}

/** A header with the fields given. */
function header(request: number, flags: number, size: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(request, flags, size).buffer);
}

Deno.test("encode writes request, flags with the version, size and payload", () => {
  const data = encode(0x0102, 8, Uint8Array.of(0xaa, 0xbb));
  deepStrictEqual([...data], [2, 1, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 0xaa, 0xbb]);
});

Deno.test("MessageDecoder reads what encode wrote", () => {
  const any = fc.tuple(fc.nat(0xffff), fc.constantFrom(0, 4, 8), fc.uint8Array());
  fc.assert(fc.property(any, ([request, flags, payload]) => {
    const messages = feed(new MessageDecoder(), encode(request, flags, payload));
    deepStrictEqual(messages, [{ request, flags: flags | 1, payload, fds: [] }]);
  }));
});

Deno.test("MessageDecoder gives the same messages wherever the bytes are cut", () => {
  const data = Uint8Array.of(
    ...encode(1, 0, new Uint8Array(0)),
    ...encode(2, 8, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)),
    ...encode(3, 4, Uint8Array.of(9)),
  );
  const whole = feed(new MessageDecoder(), data);
  deepStrictEqual(whole.map(({ request }) => request), [1, 2, 3]);
  for (let first = 1; first < data.length; first++) {
    for (let second = first; second < data.length; second++) {
      deepStrictEqual(feed(new MessageDecoder(), data, [first, second]), whole);
    }
  }
  const everywhere = Array.from(data, (_, i) => i);
  deepStrictEqual(feed(new MessageDecoder(), data, everywhere), whole);
});

Deno.test("MessageDecoder.target never reaches into the next message", () => {
  const decoder = new MessageDecoder();
  strictEqual(decoder.target().length, 12);
  decoder.target().set(header(2, 1, 8).subarray(0, 5));
  decoder.received(5, []);
  strictEqual(decoder.target().length, 7);
  decoder.target().set(header(2, 1, 8).subarray(5));
  decoder.received(7, []);
  strictEqual(decoder.target().length, 8);
  decoder.received(8, []);
  strictEqual(decoder.target().length, 12);
});

Deno.test("MessageDecoder.isMidMessage is true between the first byte and the last", () => {
  const decoder = new MessageDecoder();
  strictEqual(decoder.isMidMessage, false);
  const data = encode(2, 0, Uint8Array.of(1, 2));
  data.forEach((byte, i) => {
    decoder.target()[0] = byte;
    decoder.received(1, []);
    strictEqual(decoder.isMidMessage, i < data.length - 1, `after byte ${i}`);
  });
});

Deno.test("MessageDecoder gives each message a payload of its own", () => {
  const decoder = new MessageDecoder();
  const [first] = feed(decoder, encode(2, 0, Uint8Array.of(1, 2)));
  feed(decoder, encode(2, 0, Uint8Array.of(3, 4)));
  deepStrictEqual([...first!.payload], [1, 2]);
});

Deno.test("MessageDecoder accepts the largest payload and throws at one byte more", () => {
  const largest = feed(new MessageDecoder(), encode(5, 0, new Uint8Array(MAX_PAYLOAD_BYTES)));
  strictEqual(largest[0]?.payload.length, MAX_PAYLOAD_BYTES);
  for (const size of [MAX_PAYLOAD_BYTES + 1, 0xffffffff]) {
    throws(
      () => feed(new MessageDecoder(), header(5, 1, size)),
      new ProtocolError(`message 5 has ${size} bytes, at most ${MAX_PAYLOAD_BYTES}`),
    );
  }
});

Deno.test("MessageDecoder throws at every version but 1", () => {
  for (const version of [0, 2, 3]) {
    throws(
      () => feed(new MessageDecoder(), header(1, version | 8, 0)),
      new ProtocolError(`message 1 has version ${version}, want 1`),
    );
  }
  doesNotThrow(() => feed(new MessageDecoder(), header(1, 0xfffffffd, 0)));
});

Deno.test("MessageDecoder hands descriptors over with their message, in order", () => {
  const fds = [1, 2, 3].map((number) => new FakeDescriptor(number));
  const decoder = new MessageDecoder();
  const data = encode(5, 0, Uint8Array.of(1));
  decoder.target().set(data.subarray(0, 4));
  decoder.received(4, fds.slice(0, 2));
  decoder.target().set(data.subarray(4, 12));
  decoder.received(8, fds.slice(2));
  decoder.target().set(data.subarray(12));
  deepStrictEqual(decoder.received(1, [])?.fds, fds);
  decoder.close();
  deepStrictEqual(fds.map(({ closed }) => closed), [0, 0, 0]);
  deepStrictEqual(feed(decoder, encode(1, 0, new Uint8Array(0)))[0]?.fds, []);
});

Deno.test("MessageDecoder.close closes the descriptors of an unfinished message once", () => {
  const fd = new FakeDescriptor(1);
  const decoder = new MessageDecoder();
  decoder.received(1, [fd]);
  decoder.close();
  decoder.close();
  strictEqual(fd.closed, 1);
});

Deno.test("MessageDecoder.close closes the descriptors of a message that was refused", () => {
  const fd = new FakeDescriptor(1);
  const decoder = new MessageDecoder();
  decoder.target().set(header(5, 2, 0));
  throws(() => decoder.received(12, [fd]), ProtocolError);
  strictEqual(fd.closed, 0);
  decoder.close();
  strictEqual(fd.closed, 1);
});
