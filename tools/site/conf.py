"""Sphinx's configuration of the site. tools/build_site.py copies it beside the pages that it wrote, with the style and MathJax."""
project, author = 'SparseAttnNet', 'The SparseAttnNet notebook authors'
copyright = '2026 onwards, The SparseAttnNet notebook authors'
extensions = ['myst_nb']
exclude_patterns = ['_extra', '_static_of_site', '_templates']
templates_path = ['_templates']
html_extra_path = ['_extra']
html_static_path = ['_static_of_site']
html_css_files = ['site.css']
html_logo = html_favicon = '_static_of_site/icon.svg'
html_context = dict(default_mode='auto')

nb_execution_mode = 'off'
nb_merge_streams = True
nb_render_markdown_format = 'myst'
myst_enable_extensions = ['dollarmath', 'amsmath', 'smartquotes']
myst_heading_anchors = 4
# Links are resolved before Sphinx sees them, and checked in the built site.
myst_url_schemes = {'http': None, 'https': None, 'mailto': None, 'page': '{{path}}', 'place': '{{path}}#{{fragment}}'}
# Tables of results begin at whatever heading they have; programs are shown as they are.
suppress_warnings = ['myst.header', 'misc.highlighting_failure']

html_theme = 'sphinx_book_theme'
html_title = 'SparseAttnNet'
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_theme_options = dict(show_toc_level=2, show_navbar_depth=1, home_page_in_toc=True, toc_title='On this page',
    logo=dict(text='SparseAttnNet', alt_text=''), use_download_button=False, use_fullscreen_button=False,
    pygments_light_style='a11y-high-contrast-light', pygments_dark_style='a11y-high-contrast-dark')
# MathJax 3 from the site itself. Its menu would fetch dictionaries from elsewhere.
mathjax_path = 'mathjax/tex-chtml-full.js'
mathjax3_config = {'options': {'enableMenu': False}, 'loader': {'load': ['a11y/assistive-mml']}}
