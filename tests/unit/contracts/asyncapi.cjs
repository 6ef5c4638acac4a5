// Reads an AsyncAPI document with the AsyncAPI Initiative's own parser and prints what it finds wrong, as JSON.
// node asyncapi.cjs FOLDER DOCUMENT: FOLDER holds node_modules.
const path = require("path");
const { createRequire } = require("module");
const [folder, file] = process.argv.slice(2).map((name) => path.resolve(name));
const load = createRequire(path.join(folder, "package.json"));
const { Parser, fromFile } = load("@asyncapi/parser");
const { AvroSchemaParser } = load("@asyncapi/avro-schema-parser");

const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
fromFile(parser, file)
  .parse()
  .then(({ document, diagnostics }) => {
    const channels = document ? document.channels().all() : [];
    const found = {
      problems: diagnostics.filter((one) => one.severity <= 1),
      addresses: channels.map((channel) => channel.address()),
      formats: channels.flatMap((c) => c.messages().all().map((message) => message.schemaFormat())),
    };
    console.log(JSON.stringify(found));
  });
