import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { parseMac } from "../../../src/ethernet/frame.ts";
import {
  decodeIpv6,
  encodeIpv6,
  formatIpv6,
  groupMac,
  linkLocalAddress,
  parseIpv6,
  solicitedNodeGroup,
} from "../../../src/ethernet/ipv6.ts";

const address = fc.uint8Array({ minLength: 16, maxLength: 16 });

Deno.test("parseIpv6 reads what people write (RFC 4291, 2.2)", () => {
  deepStrictEqual([...parseIpv6("::")], new Array(16).fill(0));
  deepStrictEqual([...parseIpv6("::1")], [...new Array(15).fill(0), 1]);
  deepStrictEqual([...parseIpv6("fd00::")], [0xfd, ...new Array(15).fill(0)]);
  const full = "2001:db8:0:0:8:800:200c:417a";
  deepStrictEqual(parseIpv6("2001:DB8::8:800:200C:417A"), parseIpv6(full));
  deepStrictEqual(parseIpv6("2001:0db8:0000:0000:0008:0800:200c:417a"), parseIpv6(full));
});

Deno.test("parseIpv6 reads nothing else", () => {
  const bad = [
    ...["", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", ":1:2:3:4:5:6:7"],
    ...["1:2:3:4:5:6:7:", "1:2:3:4::5:6:7:8", "g::", "12345::", "fe80::1%eth0", "::10.0.0.1"],
  ];
  for (const text of bad) throws(() => parseIpv6(text), RangeError, text);
});

Deno.test("formatIpv6 writes the shortest form (RFC 5952, 4)", () => {
  const cases = {
    "::": "::",
    "::1": "::1",
    "1::": "1::",
    "2001:db8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
    "2001:0:0:1:0:0:0:1": "2001:0:0:1::1",
    "2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
    "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
  };
  for (const [text, shortest] of Object.entries(cases)) {
    strictEqual(formatIpv6(parseIpv6(text)), shortest);
  }
});

Deno.test("parseIpv6 reads back what formatIpv6 writes", () => {
  fc.assert(fc.property(address, (ip) => deepStrictEqual(parseIpv6(formatIpv6(ip)), ip)));
});

Deno.test("decodeIpv6 gives back what encodeIpv6 was given, without padding", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const any = fc.record({
    source: address,
    destination: address,
    protocol: byte,
    hopLimit: byte,
    payload: fc.uint8Array({ maxLength: 60 }),
  }, { noNullPrototype: true });
  fc.assert(fc.property(any, (packet) => {
    const data = encodeIpv6(packet);
    deepStrictEqual(decodeIpv6(Uint8Array.of(...data, 0, 0, 0)), packet);
    strictEqual(decodeIpv6(data.subarray(0, data.length - 1)), null);
  }));
});

Deno.test("decodeIpv6 takes no other version", () => {
  const packet = { source: parseIpv6("::1"), destination: parseIpv6("::2"), protocol: 59 };
  const data = encodeIpv6({ ...packet, hopLimit: 1, payload: new Uint8Array(0) });
  data[0] = 0x45;
  strictEqual(decodeIpv6(data), null);
});

Deno.test("linkLocalAddress is made of the Ethernet address (RFC 4291, appendix A)", () => {
  const ip = linkLocalAddress(parseMac("52:54:00:12:34:56"));
  strictEqual(formatIpv6(ip), "fe80::5054:ff:fe12:3456");
});

Deno.test("solicitedNodeGroup and groupMac are made of the last bytes (RFC 4291; RFC 2464, 7)", () => {
  const group = solicitedNodeGroup(parseIpv6("4037::1:800:200e:8c6c"));
  strictEqual(formatIpv6(group), "ff02::1:ff0e:8c6c");
  deepStrictEqual(groupMac(group), parseMac("33:33:ff:0e:8c:6c"));
});
