import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { decodeDhcp, DHCP, encodeDhcp, MessageType } from "../../../src/dhcp/message.ts";
import { decodeOptions, encodeOptions, Option } from "../../../src/dhcp/options.ts";
import { dhcpMessage } from "../../support/host_frames.ts";

const MAC = Uint8Array.of(0x52, 0x54, 0, 0, 0, 1);
const FILE_AT = DHCP.offset.file;
const SNAME_AT = DHCP.offset.sname;

/** A message whose options are these bytes. */
function withOptions(...options: number[]): Uint8Array {
  const data = encodeDhcp(dhcpMessage(MAC, MessageType.DISCOVER)).slice(0, DHCP.size);
  return Uint8Array.of(...data, ...options);
}

Deno.test("encodeDhcp makes a message of 300 bytes at least, with the magic cookie", () => {
  const data = encodeDhcp(dhcpMessage(MAC, MessageType.DISCOVER));
  strictEqual(data.length, 300);
  deepStrictEqual([...data.subarray(0, 8)], [1, 1, 6, 0, 1, 2, 3, 4]);
  deepStrictEqual([...data.subarray(28, 34)], [...MAC]);
  deepStrictEqual([...data.subarray(236, 244)], [0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255]);
});

Deno.test("decodeDhcp gives back what encodeDhcp was given", () => {
  const ip = fc.uint8Array({ minLength: 4, maxLength: 4 });
  const kind = fc.integer({ min: 1, max: 254 })
    .filter((value) => value !== Option.MESSAGE_TYPE && value !== Option.OVERLOAD);
  const any = fc.record({
    op: fc.integer({ min: 0, max: 255 }),
    type: fc.integer({ min: 0, max: 255 }),
    transaction: fc.integer({ min: 0, max: 0xffff_ffff }),
    flags: fc.integer({ min: 0, max: 0xffff }),
    clientIp: ip,
    yourIp: ip,
    relayIp: ip,
    mac: fc.uint8Array({ minLength: 6, maxLength: 6 }),
    options: fc.array(fc.tuple(kind, fc.uint8Array({ minLength: 1, maxLength: 255 })))
      .map((entries) => new Map(entries)),
  }, { noNullPrototype: true });
  fc.assert(fc.property(any, (message) => {
    deepStrictEqual(decodeDhcp(encodeDhcp(message)), message);
  }));
});

Deno.test("decodeDhcp takes no message that is cut short, of another network or without a type", () => {
  const good = encodeDhcp(dhcpMessage(MAC, MessageType.DISCOVER));
  const changed = (at: number, value: number) => {
    const copy = good.slice();
    copy[at] = value;
    return copy;
  };
  strictEqual(decodeDhcp(good.subarray(0, DHCP.size - 1)), null);
  strictEqual(decodeDhcp(good.subarray(0, DHCP.size)), null, "no options");
  strictEqual(decodeDhcp(changed(1, 6)), null, "hardware type");
  strictEqual(decodeDhcp(changed(2, 16)), null, "length of the address");
  strictEqual(decodeDhcp(changed(239, 0)), null, "cookie");
  strictEqual(decodeDhcp(withOptions(53, 2, 1, 1, 255)), null, "a type of two bytes");
  strictEqual(decodeDhcp(withOptions(53, 0, 255)), null, "a type of no bytes");
});

Deno.test("decodeDhcp takes no message with an option that goes beyond the end", () => {
  strictEqual(decodeDhcp(withOptions(53, 1)), null);
  strictEqual(decodeDhcp(withOptions(53, 1, 1, 50)), null);
  strictEqual(decodeDhcp(withOptions(53, 1, 1, 50, 4, 1, 2, 3)), null);
});

Deno.test("decodeDhcp needs no end of the options, and looks at nothing behind it", () => {
  strictEqual(decodeDhcp(withOptions(0, 0, 53, 1, 1))?.type, 1);
  strictEqual(decodeDhcp(withOptions(53, 1, 1, 255, 50, 200))?.type, 1);
});

Deno.test("decodeDhcp reads options in the fields file and sname when told so (RFC 2131, 4.1)", () => {
  for (const [overload, type] of [[1, 7], [2, 8], [3, 7]] as const) {
    const data = withOptions(52, 1, overload, 255);
    data.set([53, 1, 7, 255], FILE_AT);
    data.set([53, 1, 8, 255], SNAME_AT);
    strictEqual(decodeDhcp(data)?.type, type);
  }
  strictEqual(decodeDhcp(withOptions(52, 1, 3, 255)), null, "no type anywhere");
  const broken = withOptions(53, 1, 1, 52, 1, 1, 255);
  broken.set([50, 255], FILE_AT);
  strictEqual(decodeDhcp(broken), null);
});

Deno.test("decodeOptions takes the first of a kind, and pads for nothing", () => {
  const options = decodeOptions(Uint8Array.of(0, 50, 1, 7, 0, 0, 50, 1, 8, 255))!;
  deepStrictEqual([...options], [[50, Uint8Array.of(7)]]);
  deepStrictEqual(decodeOptions(new Uint8Array(0)), new Map());
});

Deno.test("encodeOptions ends the list", () => {
  const options = new Map([[1, Uint8Array.of(2)], [3, Uint8Array.of(4, 5)]]);
  deepStrictEqual([...encodeOptions(options)], [1, 1, 2, 3, 2, 4, 5, 255]);
});
