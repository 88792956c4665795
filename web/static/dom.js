/** Typed access to the page's own elements. */

/**
 * The element that the page must have; a missing one is a bug in the page.
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T}
 */
export function find(root, selector, type) {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`the page has no ${selector}`);
  return found;
}

/**
 * A new copy of a `<template>`'s only element.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function copyOf(id) {
  const { content } = find(document, `template#${id}`, HTMLTemplateElement);
  return find(/** @type {DocumentFragment} */ (content.cloneNode(true)), "*", HTMLElement);
}

/**
 * A new element with a class and a text.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} [class_name]
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, class_name = "", text = "") {
  const made = document.createElement(tag);
  if (class_name !== "") made.className = class_name;
  if (text !== "") made.textContent = text;
  return made;
}

/**
 * Points an icon at another drawing of the sprite.
 * @param {Element} button
 * @param {string} name
 */
export function setIcon(button, name) {
  const use = find(button, "use", SVGUseElement);
  const sprite = use.getAttribute("href")?.split("#")[0] ?? "";
  use.setAttribute("href", `${sprite}#${name}`);
}
