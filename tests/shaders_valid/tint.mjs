// Compiles WGSL texts with Tint: node tint.mjs <index.js of npm's webgpu> <JSON list of texts>.
// Prints a JSON list: null for a text without errors, else its errors. Needs no GPU.
import { readFileSync, writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const { create } = await import(pathToFileURL(process.argv[2]));
// Exported, so that it stays: adapter and device crash without it (webgpu 0.6.2).
export const gpu = create(['backend=null']);
const adapter = await gpu.requestAdapter();
const device = await adapter.requestDevice();
const verdicts = [];
for (const code of JSON.parse(readFileSync(process.argv[3], 'utf8'))) {
  device.pushErrorScope('validation');
  const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
  const errors = messages
    .filter((message) => message.type === 'error')
    .map((message) => `line ${message.lineNum}: ${message.message}`);
  const error = await device.popErrorScope();
  if (error && errors.length === 0) errors.push(error.message);
  verdicts.push(errors.length === 0 ? null : errors.join('\n'));
}
writeSync(1, JSON.stringify(verdicts));
process.exit(0);
