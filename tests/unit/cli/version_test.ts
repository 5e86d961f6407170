import { match } from "node:assert/strict";
import { versionText } from "../../../src/cli/version.ts";

Deno.test("versionText is the program's name and a version of three numbers", () => {
  match(versionText(), /^labswitch \d+\.\d+\.\d+$/);
});
