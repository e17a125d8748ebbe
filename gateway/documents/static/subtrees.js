"use strict";

// A plugin of Swagger UI: for each operation that is unfolded it reads the whole document anew, which takes seconds for
// one of this length. Here it is given the operation and what that refers to.
window.facetSubtrees = () => {
  const prefix = "#/components/";

  const references = function* (part) {
    if (typeof part === "string" && part.startsWith(prefix)) yield part;
    if (part !== null && typeof part === "object") {
      for (const one of Object.values(part)) yield* references(one);
    }
  };

  const addComponents = (components, part, document) => {
    for (const reference of references(part)) {
      const [section, name] = reference.slice(prefix.length).split("/");
      const found = document.components?.[section]?.[name];
      if (found === undefined || components[section]?.[name] !== undefined) continue;
      (components[section] ??= {})[name] = found;
      addComponents(components, found, document);
    }
  };

  const cut = (document, [section, name]) => {
    const part = document?.[section]?.[name];
    if (!["paths", "components"].includes(section) || part === undefined) return document;
    const { securitySchemes } = document.components ?? {};
    const least = { ...document, paths: {}, components: securitySchemes ? { securitySchemes } : {} };
    least[section] = { ...least[section], [name]: part };
    addComponents(least.components, part, document);
    return least;
  };

  return {
    afterLoad({ fn }) {
      const original = fn.resolveSubtree;
      Object.assign(this.fn, {
        resolveSubtree: (document, path, options) => original(cut(document, path), path, options),
      });
    },
  };
};
