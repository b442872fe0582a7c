"""Colours and type of the page, as a Gradio theme. Knows no component; the rest of the look is static/style.css."""

import gradio as gr

FONTS = ["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"]
MONO = ["ui-monospace", "SF Mono", "Cascadia Mono", "Menlo", "Consolas", "Noto Sans Mono CJK SC", "monospace"]


def theme() -> gr.themes.Base:
    """A quiet page: white or near-black ground, one accent, no shadows."""
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.zinc,
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_sm,
        text_size=gr.themes.sizes.text_sm,
        font=FONTS,
        font_mono=MONO,
    )
    return base.set(
        body_background_fill="#f6f7f6",
        body_background_fill_dark="#131516",
        body_text_color="#1d2122",
        body_text_color_dark="#e4e7e6",
        body_text_color_subdued="#5b6466",
        body_text_color_subdued_dark="#a3abad",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1a1d1e",
        background_fill_secondary="#f6f7f6",
        background_fill_secondary_dark="#131516",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1a1d1e",
        block_border_width="0px",
        block_shadow="none",
        block_shadow_dark="none",
        block_label_text_weight="500",
        block_title_text_weight="500",
        block_title_text_size="*text_sm",
        block_title_text_color="#3a4244",
        block_title_text_color_dark="#c6ccce",
        block_info_text_size="*text_xs",
        input_background_fill="#ffffff",
        input_background_fill_dark="#202425",
        input_border_color="#cfd5d4",
        input_border_color_dark="#3a4143",
        input_border_width="1px",
        input_shadow="none",
        input_shadow_focus="0 0 0 2px #0f766e40",
        input_border_color_focus="#0f766e",
        input_border_color_focus_dark="#2dd4bf",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#0b5f58",
        button_primary_background_fill_dark="#0f766e",
        button_primary_background_fill_hover_dark="#138a80",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#202425",
        button_secondary_border_color="#cfd5d4",
        button_secondary_border_color_dark="#3a4143",
        button_secondary_text_color="#1d2122",
        button_secondary_text_color_dark="#e4e7e6",
        button_border_width="1px",
    )
