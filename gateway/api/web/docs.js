// Shows the OpenAPI document of this very gateway, and lets one try each call. No library, no network but our own.

/** Where the gateway's paths begin: behind a proxy perhaps not at /. This page is at …/api/docs. */
const base = location.pathname.replace(/\/api\/docs$/, "");
const root = await (await fetch(`${base}/api/openapi.json`, { headers: headers() })).json();
const schemas = root.components.schemas;
const methods = new Set(["get", "post", "put", "delete"]);

function headers() {
  const key = sessionStorage.getItem("key");
  return key ? { "X-Api-Key": key } : {};
}

// -- small tools for the DOM: everything from the document goes in as text, never as markup

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** `code`, **bold** and blank lines; nothing else of Markdown is used in the document. */
function prose(text) {
  return text.trim().split(/\n\s*\n/).map((paragraph) => el("p", {}, ...inline(paragraph)));
}

function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.startsWith("`")) return el("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return el("strong", {}, part.slice(2, -2));
    return document.createTextNode(part);
  });
}

// -- schemas

function resolve(schema) {
  return schema.$ref ? schemas[schema.$ref.split("/").pop()] : schema;
}

function choices(schema) {
  return (schema.anyOf ?? schema.oneOf ?? [schema]).filter((one) => one.type !== "null").map(resolve);
}

function nullable(schema) {
  return (schema.anyOf ?? []).some((one) => one.type === "null");
}

function kind(schema) {
  const words = choices(schema).map((one) => {
    if (one.const !== undefined) return JSON.stringify(one.const);
    if (one.enum) return one.enum.map((value) => JSON.stringify(value)).join(" | ");
    if (one.type === "array") return `list of ${kind(one.items ?? {})}`;
    return { "date-time": "time" }[one.format] ?? one.type ?? "anything";
  });
  return [...new Set(words)].join(" or ") + (nullable(schema) ? " or null" : "");
}

function limits(schema) {
  const one = choices(schema)[0] ?? {};
  const said = [];
  if (one.minimum !== undefined && one.maximum !== undefined) said.push(`${one.minimum} to ${one.maximum}`);
  else if (one.maximum !== undefined) said.push(`at most ${one.maximum}`);
  if (one.maxLength) said.push(`at most ${one.maxLength} characters`);
  if (one.maxItems) said.push(`at most ${one.maxItems}`);
  if (schema.default !== undefined && schema.default !== null && schema.default !== "") said.push(`default ${JSON.stringify(schema.default)}`);
  return said.length ? `, ${said.join(", ")}` : "";
}

function inner(schema) {
  for (const one of choices(schema)) {
    if (one.properties) return one;
    if (one.type === "array" && one.items) {
      const item = inner(one.items);
      if (item) return item;
    }
  }
  return null;
}

function fields(schema, depth = 0) {
  const object = resolve(schema);
  const rows = Object.entries(object.properties ?? {}).map(([name, found]) => {
    const nested = depth < 3 ? inner(found) : null;
    return field(name, found, (object.required ?? []).includes(name) && depth >= 0, nested ? fields(nested, depth + 1) : null);
  });
  return el("div", { class: "fields" }, ...rows);
}

function field(name, schema, must, nested = null, description = schema.description) {
  return el("div", { class: "field" },
    el("span", { class: "name" }, name), el("span", { class: "kind" }, kind(schema) + limits(schema)),
    must ? el("span", { class: "must" }, "required") : null,
    description ? el("div", { class: "what" }, ...inline(description)) : null, nested);
}

function example(schema) {
  const object = choices(schema)[0] ?? {};
  if (object.examples) return inOrder(object.examples[0], Object.keys(object.properties ?? {}));
  if (object.const !== undefined) return object.const;
  if (object.type === "array") return [example(object.items ?? {})];
  if (object.properties) {
    const must = object.required ?? [];
    return Object.fromEntries(Object.entries(object.properties).filter(([name]) => must.includes(name)).map(([name, found]) => [name, example(found)]));
  }
  if (object.enum) return object.enum[0];
  return { string: "text", integer: 1, number: 1, boolean: false, object: {} }[object.type] ?? null;
}

/** The document sorts the keys of examples; people read them in the order of the fields. */
function inOrder(value, names) {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(names.filter((name) => name in value).map((name) => [name, value[name]]));
}

// -- operations

function bodySchema(operation) {
  return operation.requestBody?.content["application/json"].schema;
}

function curl(method, path, operation, filled) {
  const parts = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${quote(location.origin + base + path)}`];
  if (root.security?.length && !(operation.security && operation.security.length === 0)) parts.push('-H "Authorization: Bearer $GATEWAY_API_KEY"');
  for (const [name, value] of Object.entries(filled.headers)) parts.push(`-H ${quote(`${name}: ${value}`)}`);
  if (filled.body) parts.push(`-H 'Content-Type: application/json'`, `-d ${quote(filled.body)}`);
  return parts.join(" \\\n  ");
}

function quote(text) {
  return /^[\w:/.@=&?%-]+$/.test(text) && !/[&?]/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function section(path, method, operation) {
  const schema = bodySchema(operation);
  const left = el("div", {}, ...(operation.description ? prose(operation.description) : []));
  if (operation.parameters?.length) {
    left.append(el("h4", {}, "Parameters"), el("div", { class: "fields" },
      ...operation.parameters.map((p) => field(`${p.name}`, p.schema, p.required, null, `${p.in === "query" ? "" : `(${p.in}) `}${p.description}`))));
  }
  if (schema) left.append(el("h4", {}, operation.requestBody.required ? "Body" : "Body (may be empty)"), fields(schema));
  const replies = Object.entries(operation.responses);
  const refusals = replies.filter(([status]) => Number(status) >= 400);
  left.append(el("h4", {}, "Answers"), ...replies.filter(([status]) => Number(status) < 400).map(([status, reply]) => answer(status, reply)));
  if (refusals.length) left.append(refused(refusals));
  return el("section", { class: "op", id: operation.operationId },
    el("h3", {}, el("span", { class: `method ${method.toUpperCase()}` }, el("span", {}, method.toUpperCase())), operation.summary,
      el("span", { class: "path" }, ...path.split(/(\{\w+\})/).map((part) => part.startsWith("{") ? el("b", {}, part) : part))),
    left, el("div", { class: "side" }, ...tryIt(path, method, operation, schema)));
}

function answer(status, reply) {
  const media = Object.keys(reply.content ?? {});
  const schema = reply.content?.["application/json"]?.schema;
  return el("details", { class: "reply" },
    el("summary", {}, el("b", {}, status), reply.description, media.length && !schema ? ` ${media.join(", ")}` : ""),
    el("div", {}, schema ? fields(schema, -1) : null));
}

function refused(replies) {
  const rows = replies.map(([status, reply]) => el("div", { class: "field" },
    el("span", { class: "name no" }, status), " ", el("span", { class: "what" }, ...inline(reply.description))));
  return el("details", { class: "reply" },
    el("summary", {}, el("b", { class: "no" }, replies.map(([status]) => status).join(" ")), "Refusals"),
    el("div", {}, el("div", { class: "fields" }, ...rows)));
}

function tryIt(path, method, operation, schema) {
  const inputs = (operation.parameters ?? []).map((p) => [p, input(p)]);
  const text = schema ? el("textarea", { "aria-label": "Body", spellcheck: "false" }) : null;
  if (text) text.value = JSON.stringify(example(schema), null, 2);
  const command = el("pre", {});
  const filled = () => fill(path, inputs, text);
  const show = () => { const now = filled(); command.textContent = curl(method, now.path, operation, now); };
  const status = el("span", { class: "status" });
  const output = el("div", { hidden: true });
  const button = el("button", { type: "submit" }, "Try it");
  const form = el("form", { class: "try", oninput: show, onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    try { await send(method, filled(), status, output); } finally { button.disabled = false; }
  } }, ...inputs.map(([p, control]) => el("label", {}, p.name, control)), text, el("div", {}, button, " ", status));
  show();
  const copy = el("button", { class: "copy", type: "button", onclick: () => navigator.clipboard?.writeText(command.textContent) }, "copy");
  return [
    el("div", { class: "card" }, el("div", { class: "head" }, "Request", copy), command),
    el("div", { class: "card" }, form, output),
  ];
}

function input(parameter) {
  const one = choices(parameter.schema)[0] ?? {};
  if (one.enum) return el("select", { name: parameter.name }, el("option", { value: "" }, "—"), ...one.enum.map((v) => el("option", {}, v)));
  const preset = parameter.in === "path" && parameter.name === "name" ? "default" : "";
  return el("input", { name: parameter.name, value: preset, placeholder: hint(parameter, one), autocomplete: "off" });
}

function hint(parameter, one) {
  return one.examples?.[0] ?? (one.default !== undefined ? String(one.default) : parameter.required ? "required" : "");
}

function fill(path, inputs, text) {
  const query = new URLSearchParams();
  const sent = {};
  for (const [parameter, control] of inputs) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, control.value ? encodeURIComponent(control.value) : `{${parameter.name}}`);
    else if (control.value && parameter.in === "query") query.set(parameter.name, control.value);
    else if (control.value) sent[parameter.name] = control.value;
  }
  const body = text?.value.trim();
  return { path: path + (query.size ? `?${query}` : ""), headers: sent, body: body && body !== "{}" ? compact(body) : null };
}

function compact(body) {
  try { return JSON.stringify(JSON.parse(body)); } catch { return body; }
}

async function send(method, filled, status, output) {
  const begun = performance.now();
  const sent = { ...headers(), ...filled.headers, ...(filled.body ? { "Content-Type": "application/json" } : {}) };
  try {
    const reply = await fetch(base + filled.path, { method: method.toUpperCase(), headers: sent, body: filled.body ?? undefined });
    const type = reply.headers.get("Content-Type") ?? "";
    const shown = type.startsWith("image/") ? el("img", { class: "picture", alt: "the answer", src: URL.createObjectURL(await reply.blob()) }) : el("pre", {}, pretty(await reply.text(), type));
    output.replaceChildren(shown);
    status.textContent = `${reply.status} ${reply.statusText} · ${Math.round(performance.now() - begun)} ms`;
    status.className = `status ${reply.ok ? "good" : "bad"}`;
  } catch (error) {
    output.replaceChildren(el("pre", {}, `No answer: ${error.message}`));
    status.textContent = "no answer";
    status.className = "status bad";
  }
  output.hidden = false;
}

function pretty(text, type) {
  if (!type.startsWith("application/json")) return text;
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

// -- the page

function build() {
  document.title = `${root.info.title}: API`;
  document.getElementById("title").textContent = root.info.title;
  document.getElementById("version").textContent = root.info.version;
  document.getElementById("intro").append(el("h1", {}, "HTTP API"), ...prose(root.info.description));
  const index = document.getElementById("index");
  const all = document.getElementById("operations");
  all.replaceChildren();
  for (const tag of root.tags) {
    index.append(el("h3", {}, tag.name));
    all.append(el("h2", { class: "tag" }, tag.name), el("p", { class: "tag" }, tag.description));
    for (const [path, item] of Object.entries(root.paths)) {
      for (const method of Object.keys(item).filter((m) => methods.has(m) && item[m].tags.includes(tag.name))) {
        const operation = item[method];
        all.append(section(path, method, operation));
        index.append(el("a", { href: `#${operation.operationId}`, "data-find": `${method} ${path} ${operation.summary}`.toLowerCase() },
          el("span", { class: `method ${method.toUpperCase()}` }, method === "delete" ? "DEL" : method.toUpperCase()), operation.summary));
      }
    }
  }
  const here = location.hash.slice(1);
  if (here) document.getElementById(here)?.scrollIntoView();
}

function filterIndex(event) {
  const wanted = event.target.value.trim().toLowerCase();
  for (const link of document.querySelectorAll("#index a")) {
    link.hidden = !link.dataset.find.includes(wanted);
    const shown = document.getElementById(link.hash.slice(1));
    if (shown) shown.hidden = link.hidden;
  }
}

async function showHealth() {
  const place = document.getElementById("health");
  try {
    const reply = await fetch(`${base}/api/health`, { headers: headers() });
    if (reply.status === 401) return void (place.textContent = "");
    const health = await reply.json();
    const why = health.not_accepting_because ?? health.sessions?.flatMap((s) => s.complaints)[0];
    place.textContent = health.status === "healthy" ? "healthy" : `unhealthy${why ? `: ${why}` : ""}`;
    place.className = `health ${health.status === "healthy" ? "good" : "bad"}`;
  } catch {
    place.textContent = "the gateway does not answer";
    place.className = "health bad";
  }
}

if (root.security?.length) {
  const key = document.getElementById("key");
  document.getElementById("key-box").hidden = false;
  key.value = sessionStorage.getItem("key") ?? "";
  key.addEventListener("input", () => { sessionStorage.setItem("key", key.value.trim()); showHealth(); });
}
build();
document.getElementById("filter").addEventListener("input", filterIndex);
showHealth();
setInterval(showHealth, 10000);
