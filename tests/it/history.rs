//! Sizes over time: the command `history`, the size checks of the gate, and the HTML report in a
//! real browser.

mod growth;
mod pages;
mod stores;
