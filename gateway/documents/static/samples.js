"use strict";

// A plugin of Swagger UI: forms begin with nothing but what they need, and one click fills in a sample of the route.
window.facetSamples = (samples) => (system) => {
  const h = system.React.createElement;
  const multipart = "multipart/form-data";

  const resolve = (part, document) => {
    const [section, name] = part?.$ref?.split("/").slice(-2) ?? [];
    return structuredClone(name ? document.components[section][name] : part);
  };

  const describeDefault = (part, value) => {
    if (value !== undefined && value !== null) {
      part.description = `${part.description ?? ""} (default: ${JSON.stringify(value)})`;
    }
  };

  const fill = (parameter) => {
    const [example] = parameter.schema?.examples ?? [];
    // Ids are those of somebody else's things; names are there for all.
    if (parameter.in === "path" && !parameter.name.endsWith("_id") && example !== undefined) {
      parameter.example = example;
    }
    if (!parameter.required && parameter.in !== "path") {
      describeDefault(parameter, parameter.schema?.default);
      for (const name of ["default", "example", "examples"]) {
        delete parameter[name];
        delete parameter.schema?.[name];
      }
    }
    return parameter;
  };

  const isList = (property) => [property, ...(property.anyOf ?? [])].some((kind) => kind.type === "array");

  const isFile = (property) => property?.format === "binary" || property?.contentMediaType !== undefined;

  // Swagger UI invents a value for each optional field without an example.
  const prepare = (document) => {
    for (const [path, item] of Object.entries(document.paths ?? {})) {
      const content = item.post?.requestBody?.content ?? {};
      if (item.post) {
        const fields = resolve(content[multipart]?.schema, document)?.properties ?? {};
        // Options stand in the query, too, for bodies that are a file; with a form they are fields of the form.
        const isField = (one) => one.in === "query" && one.name in fields;
        const parameters = (item.post.parameters ?? []).map((one) => resolve(one, document));
        item.post.parameters = parameters.filter((one) => !isField(one)).map(fill);
      }
      const form = content[multipart];
      if (form) {
        const schema = resolve(form.schema, document);
        // What needs no file can be filled in before anybody asks for it.
        const filled = (samples[path] ?? []).find((one) => !one.json && Object.keys(one.files).length === 0)?.form ?? {};
        for (const [name, property] of Object.entries(schema.properties ?? {})) {
          if (isFile(property.items)) {
            schema.properties[name] = { ...property.items, description: `${property.description ?? ""} (or several)` };
          }
          if (name in filled) {
            property.examples = [isList(property) ? [filled[name]] : filled[name]];
          } else if (!(schema.required ?? []).includes(name)) {
            describeDefault(property, property.default);
            delete property.default;
            property.examples = isList(property) ? [[]] : [""];
          }
        }
        form.schema = schema;
      }
    }
    return document;
  };

  const setField = (pathMethod, name, value) =>
    system.oas3Actions.setRequestBodyValue({ pathMethod, value: system.Im.Map([[name, value]]) });

  const apply = async (sample, pathMethod) => {
    const [path, method] = pathMethod;
    if (sample.json) {
      system.oas3Actions.setRequestContentType({ value: "application/json", pathMethod });
      system.oas3Actions.setRequestBodyValue({ value: JSON.stringify(sample.json, null, 2), pathMethod });
      return;
    }
    system.oas3Actions.setRequestContentType({ value: multipart, pathMethod });
    system.oas3Actions.clearRequestBodyValue({ pathMethod });
    const body = system.specSelectors.specJson().getIn(["paths", path, method, "requestBody", "content", multipart, "schema"]);
    for (const [name, property] of Object.entries(body?.toJS().properties ?? {})) {
      setField(pathMethod, name, isList(property) ? system.Im.List() : "");
      system.oas3Actions.setRequestBodyInclusion({ pathMethod, name, value: false });
    }
    for (const [name, text] of Object.entries(sample.form)) {
      const property = body?.toJS().properties?.[name] ?? {};
      setField(pathMethod, name, isList(property) ? system.Im.List([text]) : text);
    }
    for (const [name, file] of Object.entries(sample.files)) {
      const answer = await fetch(file.href);
      if (!answer.ok) throw new Error(`${file.name}: ${(await answer.json()).detail}`);
      setField(pathMethod, name, new File([await answer.blob()], file.name));
    }
  };

  const Samples = ({ offered, pathMethod, enable }) => {
    const [said, say] = system.React.useState("");
    const use = async (sample) => {
      say("Fetching ...");
      try {
        enable();
        await apply(sample, pathMethod);
        const files = Object.entries(sample.files).map(([name, file]) => `${name}: ${file.name}`);
        say(["Filled in", ...files].join(", ") + ". Now press Execute.");
      } catch (error) {
        say(`This sample cannot be used. ${error.message}`);
      }
    };
    const links = new Map(offered.flatMap((one) => Object.values(one.files)).map((file) => [file.name, file.href]));
    return h(
      "div",
      { className: "samples" },
      h("span", null, "Fill in a sample: "),
      offered.map((sample) =>
        h("button", { key: sample.title, type: "button", className: "btn", onClick: () => use(sample) }, sample.title),
      ),
      links.size > 0 && h("span", null, " Files: "),
      [...links].map(([name, href]) => h("a", { key: name, href, download: name }, name)),
      h("span", { role: "status" }, said),
    );
  };

  return {
    statePlugins: { spec: { wrapActions: { updateJsonSpec: (original) => (document) => original(prepare(document)) } } },
    wrapComponents: {
      parameters: (Original) => (properties) => {
        const [path, method] = properties.pathMethod;
        const offered = method === "post" ? (samples[path] ?? []) : [];
        const enable = () => properties.tryItOutEnabled || properties.onTryoutClick();
        return h(
          system.React.Fragment,
          null,
          offered.length > 0 && h(Samples, { offered, pathMethod: [path, method], enable }),
          h(Original, properties),
        );
      },
    },
  };
};
