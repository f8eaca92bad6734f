// A Node that cannot strip types would stop at run.ts with a message that does not help.
if (Number.parseInt(process.versions.node, 10) < 26) {
  console.error(
    `This runs on Node 26, not ${process.version}: start it with npm, after npm ci (or npm rebuild node).`,
  );
  process.exit(1);
}
await import('./run.ts');
