// Azurite, ended when whoever started it ends: its stdin is then closed, however that came about.
process.stdin.resume();
process.stdin.on("end", () => process.exit(1));
require("azurite/dist/src/azurite.js");
