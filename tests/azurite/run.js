// Runs Azurite until stdin ends: whoever holds the other end cannot leave it behind, however they end.
"use strict";
process.stdin.on("close", () => process.exit(0));
process.stdin.resume();
require("azurite/dist/src/azurite");
