import { deepStrictEqual } from "node:assert/strict";
import { parseHugePageState } from "../../support/hugepages.ts";

Deno.test("parseHugePageState reads the pool of the default size", () => {
  const meminfo = `MemFree:        24327000 kB
AnonHugePages:     10240 kB
HugePages_Total:    1024
HugePages_Free:      992
HugePages_Rsvd:        5
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:         2097152 kB
`;
  deepStrictEqual(parseHugePageState(meminfo), { pageSizeKib: 2048, total: 1024, free: 992 });
});

Deno.test("parseHugePageState returns zeros where the kernel has no huge pages", () => {
  const none = { pageSizeKib: 0, total: 0, free: 0 };
  deepStrictEqual(parseHugePageState("MemFree: 24327000 kB\n"), none);
});
