import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  BROADCAST,
  ETHERNET,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  formatMac,
  parseMac,
} from "../../../src/ethernet/frame.ts";

Deno.test("ETHERNET writes destination, source and type in the order of the wire", () => {
  const frame = new Uint8Array(14);
  ETHERNET.write(new DataView(frame.buffer), 0, {
    destination: BROADCAST,
    source: parseMac("52:54:00:00:00:01"),
    type: ETHERTYPE_ARP,
  });
  deepStrictEqual([...frame], [255, 255, 255, 255, 255, 255, 0x52, 0x54, 0, 0, 0, 1, 0x08, 0x06]);
});

Deno.test("ETHERNET reads a header", () => {
  const frame = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x08, 0x00);
  deepStrictEqual(ETHERNET.read(new DataView(frame.buffer)), {
    destination: Uint8Array.of(1, 2, 3, 4, 5, 6),
    source: Uint8Array.of(7, 8, 9, 10, 11, 12),
    type: ETHERTYPE_IPV4,
  });
});

Deno.test("parseMac reads lower and upper case", () => {
  const mac = Uint8Array.of(0x52, 0x54, 0x00, 0xab, 0xcd, 0xef);
  deepStrictEqual(parseMac("52:54:00:ab:cd:ef"), mac);
  deepStrictEqual(parseMac("52:54:00:AB:CD:EF"), mac);
});

Deno.test("parseMac throws at everything else", () => {
  const others = [
    "",
    "52:54:00:ab:cd",
    "52:54:00:ab:cd:ef:01",
    "52-54-00-ab-cd-ef",
    "5:54:0:ab:cd:ef",
    "52:54:00:ab:cd:eg",
    " 52:54:00:ab:cd:ef",
    "52:54:00:ab:cd:ef\n",
    "525400abcdef",
  ];
  for (const text of others) throws(() => parseMac(text), RangeError, JSON.stringify(text));
  throws(() => parseMac("me"), new RangeError('Cannot read "me" as an Ethernet address'));
});

Deno.test("formatMac writes two digits for each byte", () => {
  strictEqual(formatMac(Uint8Array.of(0, 1, 0x0a, 0xff, 0x10, 0xb)), "00:01:0a:ff:10:0b");
});

Deno.test("parseMac reads what formatMac wrote", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (mac) => {
    deepStrictEqual([...parseMac(formatMac(mac))], [...mac]);
  }));
});
