// An analyst at the page of examples/analyst-page, in a real Chromium, driven by playwright-core.
// Input: {chromium, page, user, file, issuer, gateway}; prints what was seen.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const input = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: input.chromium,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const seen = { requests: [], visited: [], tokens: [], errors: [] };
try {
  const context = await browser.newContext({ acceptDownloads: true });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('request', async (request) => {
    seen.visited.push(request.url());
    const headers = await request.allHeaders().catch(() => ({}));
    seen.requests.push({ method: request.method(), url: request.url(), authorization: headers.authorization?.split(' ')[0], proof: Boolean(headers.dpop) });
    if (request.url().startsWith(input.gateway) && headers.authorization) seen.tokens.push(headers.authorization.split(' ')[1]);
  });
  // What the page does with keys, and what it tries to keep.
  await page.addInitScript(() => {
    const { subtle } = crypto;
    const make = subtle.generateKey.bind(subtle);
    window.keys = [];
    subtle.generateKey = async (...given) => {
      const pair = await make(...given);
      window.keys.push(pair.privateKey);
      return pair;
    };
  });
  const status = async (text) => {
    const found = page.locator('#status', { hasText: text }).waitFor().then(() => undefined);
    const problem = page.locator('#problem:not(:empty)').waitFor({ timeout: 0 }).then(() => page.locator('#problem').textContent());
    const said = await Promise.race([found, problem]);
    if (said) throw new Error(`the page says: ${said}`);
  };
  const login = async () => {
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByLabel('User').fill(input.user);
    await page.getByRole('button', { name: 'Log in' }).click();
    await status(`Logged in as ${input.user}.`);
  };

  await page.goto(input.page);
  await login();
  seen.address = page.url();
  await page.locator('#file').setInputFiles(input.file);
  await page.getByRole('button', { name: 'Upload' }).click();
  await status('can be downloaded.');
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: /^Download/ }).click();
  const file = await download;
  seen.name = file.suggestedFilename();
  seen.sha256 = createHash('sha256').update(await readFile(await file.path())).digest('hex');

  seen.keys = await page.evaluate(async () => {
    const tries = window.keys.map((key) => crypto.subtle.exportKey('pkcs8', key).then(() => 'exported', () => 'refused'));
    return { extractable: window.keys.map((key) => key.extractable), exported: await Promise.all(tries) };
  });
  seen.kept = await page.evaluate(async () => ({
    local: Object.keys(localStorage), session: Object.keys(sessionStorage), cookies: document.cookie,
    databases: (await indexedDB.databases()).map(({ name }) => name),
  }));
  // The clock of this page, and not of the next one, goes past the end of both tokens: it sends the person to the provider
  // and does nothing else; the session there gives another id_token unasked.
  await page.evaluate(() => {
    const now = Date.now.bind(Date);
    Date.now = () => now() + 3_600_000;
  });
  // Its answer takes a while, in which the page could do something that it must not.
  await context.route(`${input.issuer}/auth?*`, async (route) => {
    await new Promise((done) => setTimeout(done, 1000));
    await route.continue();
  });
  const until = seen.visited.length;
  await page.locator('#file').setInputFiles(input.file);
  await page.getByRole('button', { name: 'Upload' }).click();
  await status(`Logged in as ${input.user}.`);
  seen.renewed = seen.visited.slice(until);
  await page.locator('#file').setInputFiles(input.file);
  await page.getByRole('button', { name: 'Upload' }).click();
  await status('can be downloaded.');

  // A reload forgets everything; the person's session at the provider brings it back without a password.
  await page.reload();
  await page.locator('#status', { hasText: 'Not logged in.' }).waitFor();
  await page.getByRole('button', { name: 'Log in' }).click();
  await status(`Logged in as ${input.user}.`);
  await page.getByRole('button', { name: 'Log out' }).click();
  await status('Not logged in.');
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
