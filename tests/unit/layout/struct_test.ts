import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  bytes,
  type Field,
  i32le,
  struct,
  u16be,
  u16le,
  u32be,
  u32le,
  u64le,
  u8,
} from "../../../src/layout/struct.ts";

/** The bytes that a field writes. */
function written<T>(field: Field<T>, value: T): number[] {
  const data = new Uint8Array(field.size);
  field.set(new DataView(data.buffer), 0, value);
  return [...data];
}

/** What a field reads from bytes. */
function readFrom<T>(field: Field<T>, data: number[]): T {
  return field.get(new DataView(Uint8Array.from(data).buffer), 0);
}

Deno.test("fields write their bytes in the order that their name says", () => {
  deepStrictEqual(written(u8, 0x12), [0x12]);
  deepStrictEqual(written(u16le, 0x1234), [0x34, 0x12]);
  deepStrictEqual(written(u16be, 0x1234), [0x12, 0x34]);
  deepStrictEqual(written(u32le, 0x12345678), [0x78, 0x56, 0x34, 0x12]);
  deepStrictEqual(written(u32be, 0x12345678), [0x12, 0x34, 0x56, 0x78]);
  deepStrictEqual(written(i32le, -2), [0xfe, 0xff, 0xff, 0xff]);
  deepStrictEqual(written(u64le, 0x0102030405060708n), [8, 7, 6, 5, 4, 3, 2, 1]);
});

Deno.test("fields read their bytes in the order that their name says", () => {
  strictEqual(readFrom(u8, [0xff]), 0xff);
  strictEqual(readFrom(u16le, [0x34, 0x12]), 0x1234);
  strictEqual(readFrom(u16be, [0x12, 0x34]), 0x1234);
  strictEqual(readFrom(u32le, [0x01, 0x00, 0x00, 0x80]), 0x80000001);
  strictEqual(readFrom(u32be, [0x80, 0x00, 0x00, 0x01]), 0x80000001);
  strictEqual(readFrom(i32le, [0xff, 0xff, 0xff, 0xff]), -1);
  strictEqual(readFrom(u64le, [1, 0, 0, 0, 0, 0, 0, 0x80]), 0x8000000000000001n);
});

Deno.test("fields have the size and the alignment of the C type", () => {
  const sizes = [u8, u16le, u16be, u32le, u32be, i32le, u64le].map(({ size }) => size);
  deepStrictEqual(sizes, [1, 2, 2, 4, 4, 4, 8]);
  const aligns = [u8, u16le, u16be, u32le, u32be, i32le, u64le].map(({ align }) => align);
  deepStrictEqual(aligns, sizes);
  deepStrictEqual([bytes(6).size, bytes(6).align], [6, 1]);
});

Deno.test("bytes reads a copy that later writes do not change", () => {
  const data = Uint8Array.of(9, 1, 2, 3);
  const read = bytes(2).get(new DataView(data.buffer), 1);
  data.fill(0);
  deepStrictEqual([...read], [1, 2]);
});

Deno.test("bytes fills up a short value with zeros and touches nothing else", () => {
  const data = new Uint8Array(6).fill(0xee);
  bytes(4).set(new DataView(data.buffer), 1, Uint8Array.of(1, 2));
  deepStrictEqual([...data], [0xee, 1, 2, 0, 0, 0xee]);
});

Deno.test("bytes refuses a value that is too long and writes nothing", () => {
  const data = new Uint8Array(4).fill(0xee);
  const write = () => bytes(2).set(new DataView(data.buffer), 0, new Uint8Array(3));
  throws(write, new RangeError("Cannot write field: 3 bytes do not fit into 2"));
  deepStrictEqual([...data], [0xee, 0xee, 0xee, 0xee]);
});

Deno.test("bytes counts from the start of a view, not of its buffer", () => {
  const view = new DataView(Uint8Array.of(0, 1, 2, 3, 4).buffer, 2);
  deepStrictEqual([...bytes(2).get(view, 1)], [3, 4]);
});

Deno.test("struct pads between fields and at the end as C does", () => {
  const layout = struct("padded", 24, { a: u8, b: u16le, c: u8, d: u64le, e: u8 });
  deepStrictEqual(layout.offset, { a: 0, b: 2, c: 4, d: 8, e: 16 });
  strictEqual(layout.size, 24);
  strictEqual(layout.align, 8);
});

Deno.test("struct leaves no padding when it is packed", () => {
  const layout = struct("packed", 12, { a: u8, b: u16le, c: u8, d: u64le }, { packed: true });
  deepStrictEqual(layout.offset, { a: 0, b: 1, c: 3, d: 4 });
  strictEqual(layout.align, 1);
});

Deno.test("struct throws when the fields do not take the size given", () => {
  const message = "Cannot declare pair: its fields take 8 bytes, expected 6";
  throws(() => struct("pair", 6, { a: u16le, b: u32le }), new RangeError(message));
  throws(() => struct("pair", 8, { a: u16le, b: u32le }, { packed: true }), /take 6 bytes/);
});

Deno.test("struct without fields takes no bytes", () => {
  strictEqual(struct("empty", 0, {}).size, 0);
});

Deno.test("struct nests: an inner struct brings its alignment and its padding", () => {
  const inner = struct("inner", 8, { a: u32le, b: u8 });
  const outer = struct("outer", 16, { a: u8, b: inner, c: u8 });
  deepStrictEqual(outer.offset, { a: 0, b: 4, c: 12 });
  const view = new DataView(new ArrayBuffer(16));
  const value = { a: 1, b: { a: 2, b: 3 }, c: 4 };
  outer.write(view, 0, value);
  deepStrictEqual(outer.read(view), value);
  deepStrictEqual([...new Uint8Array(view.buffer)], [
    1,
    0,
    0,
    0,
    2,
    0,
    0,
    0,
    3,
    0,
    0,
    0,
    4,
    0,
    0,
    0,
  ]);
});

Deno.test("struct reads what it wrote, at any place, without touching its neighbours", () => {
  const layout = struct("all", 32, {
    a: u8,
    b: u16le,
    c: u16be,
    d: u32le,
    e: u32be,
    f: i32le,
    g: bytes(3),
    h: u64le,
  });
  const value = fc.record({
    a: fc.nat(0xff),
    b: fc.nat(0xffff),
    c: fc.nat(0xffff),
    d: fc.nat(0xffffffff),
    e: fc.nat(0xffffffff),
    f: fc.integer(),
    g: fc.uint8Array({ minLength: 3, maxLength: 3 }),
    h: fc.bigInt(0n, 2n ** 64n - 1n),
  }, { noNullPrototype: true });
  fc.assert(fc.property(value, fc.nat(9), (expected, at) => {
    const data = new Uint8Array(50).fill(0xee);
    const view = new DataView(data.buffer);
    layout.write(view, at, expected);
    deepStrictEqual(layout.read(view, at), expected);
    const outside = [...data.subarray(0, at), ...data.subarray(at + layout.size)];
    strictEqual(outside.every((byte) => byte === 0xee), true);
  }));
});

Deno.test("struct refuses to read or write beyond its view", () => {
  const layout = struct("word", 4, { a: u32le });
  const view = new DataView(new ArrayBuffer(4));
  throws(() => layout.read(view, 1), RangeError);
  throws(() => layout.write(view, 1, { a: 0 }), RangeError);
});
